package hostiletest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// member is a recipe for one member of metadata or of the record.
func member(format string, inner func(size int) string) func(int) string {
	return func(size int) string { return fmt.Sprintf(format, inner(size)) }
}

// list repeats an item that has its number in it.
func list(format string) func(size int) string {
	return func(size int) string {
		before, after, numbered := strings.Cut(format, "#")
		if !numbered {
			return fill(size, ",", same(format))
		}
		return fill(size, ",", func(i int) string { return before + strconv.Itoa(i) + after })
	}
}

// below repeats an item so many times, whatever the size.
func below(n int, format string) func(int) string {
	return func(int) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
		}
		return strings.Join(items, ",")
	}
}

// everything is metadata with as much of each kind as is taken; annotations
// consist of filler.
func everything(filler string) func(int) string {
	fields := below(120, `"f:#":{}`)(0)
	parts := strings.Join([]string{
		member(`"labels":{%s}`, below(990, `"l#":""`))(0),
		member(`"annotations":{%s}`, below(990, `"a#":"`+strings.Repeat(filler, 200)+`"`))(0),
		member(`"finalizers":[%s]`, below(90, `"a.example/f#"`))(0),
		member(`"ownerReferences":[%s]`, below(90, `{"apiVersion":"v1","kind":"A","name":"a#","uid":"u"}`))(0),
		member(`"managedFields":[%s]`, below(90, `{"manager":"m#","operation":"Apply","apiVersion":"core.apoxy.dev/v1alpha3","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{`+fields+`}}}}`))(0),
	}, ",")
	return func(int) string { return parts }
}

// backwards is list with falling numbers: sorted insertion is at its worst.
func backwards(format string) func(size int) string {
	return func(size int) string {
		return fill(size, ",", func(i int) string { return strings.ReplaceAll(format, "#", fmt.Sprintf("%07d", 9999999-i)) })
	}
}

func objects() []object { return slices.Concat(metadataObjects(), fieldObjects(), syntaxObjects()) }

// metadataObjects are those whose metadata is too much.
func metadataObjects() []object {
	managed := `"managedFields":[{"manager":"m","operation":"Update","apiVersion":"core.apoxy.dev/v1alpha3","fieldsType":"FieldsV1","fieldsV1":{%s}}]`
	return []object{
		{name: "a plain record"},
		{name: "many labels", metadata: member(`"labels":{%s}`, list(`"l#":""`))},
		{name: "labels below the bounds", metadata: member(`"labels":{%s}`, below(990, `"l#":""`))},
		{name: "labels that are none", metadata: member(`"labels":{%s}`, list(`"!#":"?"`))},
		{name: "one endless label", metadata: member(`"labels":{"a":"%s"}`, wide("x"))},
		{name: "many annotations", metadata: member(`"annotations":{%s}`, list(`"a#":"x"`))},
		{name: "annotations that are none", metadata: member(`"annotations":{%s}`, list(`"A B#":"x"`))},
		{name: "annotations below the bounds", metadata: member(`"annotations":{%s}`, below(990, `"a#":"`+strings.Repeat("x", 240)+`"`))},
		{name: "as much of everything as is taken", metadata: everything("x"), beside: member(`"status":{"conditions":[%s]}`,
			below(50, `{"type":"T#","status":"True","reason":"R","message":"`+strings.Repeat("x", 8<<10)+`","lastTransitionTime":"2026-01-01T00:00:00Z"}`))},
		{name: "as much of everything, longer once it is encoded", metadata: everything("<"), beside: member(`"status":{"conditions":[%s]}`,
			below(50, `{"type":"T#","status":"True","reason":"R","message":"`+strings.Repeat("<", 8<<10)+`","lastTransitionTime":"2026-01-01T00:00:00Z"}`))},
		{name: "many finalizers", metadata: member(`"finalizers":[%s]`, list(`"a/f#"`))},
		{name: "empty finalizers", metadata: member(`"finalizers":[%s]`, list(`""`))},
		{name: "many owner references", metadata: member(`"ownerReferences":[%s]`, list(`{"apiVersion":"v1","kind":"A","name":"a#","uid":"u","controller":true}`))},
		{name: "empty owner references", metadata: member(`"ownerReferences":[%s]`, list(`{}`))},
		{name: "a million managed fields", metadata: member(managed, list(`"f:#":{}`))},
		{name: "managed fields backwards", metadata: member(managed, backwards(`"f:#":{}`))},
		{name: "managed values backwards", metadata: member(managed, backwards(`"v:1#":{"f:a":{}}`))},
		{name: "deep managed fields", metadata: member(managed, func(size int) string { return `"f:a":` + deep(size, `{"f:a":`, `{}`, `}`) })},
		{name: "managed fields of a deep value", metadata: member(managed, func(size int) string { return `"v:` + deep(size, `[`, ``, `]`) + `":{}` })},
		{name: "managed fields of a wide key", metadata: member(managed, func(size int) string { return `"k:{` + list(`\"a#\":1`)(size) + `}":{}` })},
		{name: "many managers", metadata: member(`"managedFields":[%s]`, list(`{"manager":"m#","operation":"Update","apiVersion":"core.apoxy.dev/v1alpha3","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{}}}`))},
		{name: "empty managers", metadata: member(`"managedFields":[%s]`, list(`{}`))},
	}
}

// fieldObjects are those whose own fields are too much.
func fieldObjects() []object {
	return []object{
		{name: "many conditions", beside: member(`"status":{"conditions":[%s]}`, list(`{"type":"T#","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}`))},
		{name: "the same condition again and again", beside: member(`"status":{"conditions":[%s]}`, list(`{"type":"T","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}`))},
		{name: "empty conditions", beside: member(`"status":{"conditions":[%s]}`, list(`{}`))},
		{name: "many dnsRecords", beside: member(`"status":{"dnsRecords":[%s]}`, list(`{"purpose":"P#","type":"CNAME","name":"n","value":"v","observed":[],"configured":false,"required":true}`))},
		{name: "null dnsRecords", beside: member(`"status":{"dnsRecords":[%s]}`, list(`null`))},
		{name: "many observed values", beside: member(`"status":{"dnsRecords":[{"purpose":"Traffic","type":"CNAME","name":"n","value":"v","observed":[%s],"configured":false,"required":true}]}`, list(`"A 192.0.2.1"`))},
		{name: "many resolved values", beside: member(`"status":{"resolvedValues":[%s]}`, list(`"a"`))},
		{name: "a phase without end", beside: member(`"status":{"phase":"%s"}`, wide("x"))},
		{name: "a hostname without end", beside: member(`"spec":{"name":"%s"}`, wide("x."))},
		{name: "a kind without end", beside: member(`"kind":"%s"`, wide("x"))},
	}
}

// syntaxObjects are those whose JSON is too much, whatever it says.
func syntaxObjects() []object {
	return []object{
		{name: "many unknown fields", beside: list(`"u#":0`)},
		{name: "unknown fields of long names", beside: func(size int) string {
			return fill(size, ",", func(i int) string { return fmt.Sprintf(`"%s%d":0`, strings.Repeat("u", 30000), i) })
		}},
		{name: "duplicate fields", beside: list(`"spec":{}`)},
		{name: "duplicate unknown fields", beside: list(`"u":0`)},
		{name: "long arrays of nulls", beside: member(`"u":[%s]`, list(`null`))},
		{name: "long arrays of empty arrays", beside: member(`"u":[%s]`, list(`[]`))},
		{name: "nested objects", beside: func(size int) string { return `"u":` + deep(size, `{"a":`, `1`, `}`) }},
		{name: "nested arrays", beside: func(size int) string { return `"u":` + deep(size, `[`, ``, `]`) }},
		{name: "nested without an end", beside: func(size int) string { return `"u":` + strings.Repeat(`[`, size) }},
		{name: "sixty levels around a long text", beside: func(size int) string {
			return `"u":` + strings.Repeat(`{"a":`, 60) + `"` + strings.Repeat("x", size) + `"` + strings.Repeat(`}`, 60)
		}},
		{name: "sixty levels around half a mebibyte", beside: func(int) string {
			return `"u":` + strings.Repeat(`{"a":`, 60) + `"` + strings.Repeat("x", 1<<19) + `"` + strings.Repeat(`}`, 60)
		}},
		{name: "sixty levels in the spec", beside: func(int) string {
			return `"spec":{"target":` + strings.Repeat(`{"a":`, 60) + `"` + strings.Repeat("x", 1<<19) + `"` + strings.Repeat(`}`, 61)
		}},
		{name: "a text of escapes", metadata: member(`"annotations":{"a":"%s"}`, wide(`\u0041`))},
		{name: "a text of surrogates", metadata: member(`"annotations":{"a":"%s"}`, wide(`\ud800`))},
		{name: "a text of quotes", metadata: member(`"annotations":{"a":"%s"}`, wide(`\"`))},
		{name: "a text of angle brackets", metadata: member(`"annotations":{"a":"%s"}`, func(int) string { return strings.Repeat("<", 200<<10) })},
		{name: "a text that is no UTF-8", metadata: member(`"annotations":{"a":"%s"}`, wide("\xff"))},
		{name: "an integer without end", beside: member(`"u":%s`, wide("1"))},
		{name: "a fraction without end", beside: member(`"u":0.%s`, wide("1"))},
		{name: "a TTL without end", beside: member(`"spec":{"ttl":%s}`, wide("1"))},
		{name: "a generation without end", metadata: member(`"generation":%s`, wide("9"))},
		{name: "a key without end", beside: member(`"%s":1`, wide("k"))},
		{name: "a label of an endless key", metadata: member(`"labels":{"%s":""}`, wide("k"))},
		{name: "white space", beside: func(size int) string { return strings.Repeat(" \n", size/2) + `"u":1` }},
	}
}

// wide repeats a text.
func wide(s string) func(size int) string {
	return func(size int) string { return strings.Repeat(s, size/len(s)) }
}
