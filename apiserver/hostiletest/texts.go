package hostiletest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

func yamls() []text { return slices.Concat(yamlStructures(), yamlTexts()) }

const yamlRecord = "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\n"

// yamlStructures are those of too many or too deep values.
func yamlStructures() []text {
	return []text{
		{"YAML of many lines", func(size int) string { return yamlRecord + "u:\n" + fill(size, "", same("- a\n")) }},
		{"YAML of many keys", func(size int) string {
			return yamlRecord + fill(size, "", func(i int) string { return fmt.Sprintf("k%d: 1\n", i) })
		}},
		{"YAML of one key again", func(size int) string { return yamlRecord + fill(size, "", same("k: 1\n")) }},
		{"YAML flow sequences", func(size int) string { return yamlRecord + "u: " + deep(size, "[", "", "]") }},
		{"YAML flow without an end", func(size int) string { return yamlRecord + "u: " + strings.Repeat("[", size) }},
		{"YAML flow mappings", func(size int) string { return yamlRecord + "u: " + deep(size, "{a: ", "1", "}") }},
		{"YAML flow of commas", func(size int) string { return yamlRecord + "u: [" + strings.Repeat("a,", size/2) + "]" }},
		{"YAML sequences on one line", func(size int) string { return yamlRecord + "u:\n  " + strings.Repeat("- ", size/2) + "a\n" }},
		{"YAML explicit keys", func(size int) string { return yamlRecord + strings.Repeat("? ", size/2) + "a\n" }},
		{"YAML steps", func(size int) string {
			var b strings.Builder
			b.WriteString(yamlRecord)
			for i := 0; b.Len() < size; i++ {
				b.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return b.String()
		}},
		{"YAML aliases of aliases", func(int) string {
			var b strings.Builder
			b.WriteString(yamlRecord + "a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
			for i := 1; i < 30; i++ {
				fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, fill(36, ",", same(fmt.Sprintf("*a%d", i-1))))
			}
			return b.String()
		}},
		{"YAML one long text and its aliases", func(size int) string {
			return yamlRecord + "a: &a \"" + strings.Repeat("x", size/8) + "\"\nu: [" + fill(200, ",", same("*a")) + "]\n"
		}},
		{"YAML an alias of itself", func(int) string { return yamlRecord + "a: &a [*a, *a]\n" }},
		{"YAML merge keys", func(size int) string {
			var b strings.Builder
			b.WriteString(yamlRecord + "a0: &a0 {x: 1}\n")
			for i := 1; b.Len() < min(size, 1<<16); i++ {
				fmt.Fprintf(&b, "a%d: &a%d\n  <<: [*a%d, *a%d]\n  k%d: 1\n", i, i, i-1, i/2, i)
			}
			return b.String()
		}},
	}
}

// yamlTexts are those whose marks and texts are too much.
func yamlTexts() []text {
	return []text{
		{"YAML tags", func(size int) string { return yamlRecord + "u:\n" + fill(size, "", same("- !!binary eA==\n")) }},
		{"YAML one long tag", func(size int) string { return yamlRecord + "u: !" + strings.Repeat("%41", size/3) + " x\n" }},
		{"YAML comments", func(size int) string { return yamlRecord + fill(size, "", same("#\n")) }},
		{"YAML one long comment", func(size int) string { return yamlRecord + "#" + strings.Repeat("x", size) }},
		{"YAML documents", func(size int) string { return fill(size, "", same("---\n")) }},
		{"YAML documents with records", func(size int) string { return fill(size, "", same("---\n"+yamlRecord)) }},
		{"YAML directives", func(size int) string { return fill(size, "", same("%FOO\n")) + "---\n" + yamlRecord }},
		{"YAML anchors", func(size int) string {
			return yamlRecord + "u:\n" + fill(size, "", func(i int) string { return fmt.Sprintf("- &a%d x\n", i) })
		}},
		{"YAML plain text of words", func(size int) string { return yamlRecord + "u: " + strings.Repeat("x ", size/2) + "\n" }},
		{"YAML plain text of lines", func(size int) string { return yamlRecord + "u:\n" + strings.Repeat(" x\n", size/3) }},
		{"YAML block text", func(size int) string { return yamlRecord + "u: |\n" + strings.Repeat("  x\n", size/4) }},
		{"YAML folded text", func(size int) string { return yamlRecord + "u: >\n" + strings.Repeat("  x\n\n", size/5) }},
		{"YAML quoted text", func(size int) string { return yamlRecord + "u: \"" + strings.Repeat(`\x41`, size/4) + "\"\n" }},
		{"YAML digits", func(size int) string { return yamlRecord + "u: " + strings.Repeat("1", size) + "\n" }},
		{"YAML digits with underscores", func(size int) string { return yamlRecord + "u: " + strings.Repeat("1_", size/2) + "1.5\n" }},
		{"YAML blanks", func(size int) string { return yamlRecord + strings.Repeat(" ", size) }},
		{"YAML lines", func(size int) string { return yamlRecord + strings.Repeat("\n", size) }},
		{"YAML colons", func(size int) string { return yamlRecord + "u: " + strings.Repeat(":", size) }},
		{"YAML quotes", func(size int) string { return yamlRecord + "u: " + strings.Repeat("''", size/2) }},
		{"YAML in UTF-16", func(size int) string { return "\xff\xfe" + strings.Repeat("a\x00", size/2) }},
		{"YAML of control characters", func(size int) string { return strings.Repeat("\x01", size) }},
	}
}

func patches() []text {
	operations := func(format string) func(int) string {
		return func(size int) string { return "[" + list(format)(size) + "]" }
	}
	// most is a patch of nearly as many operations as are taken.
	most := func(before, format string) func(int) string {
		return func(int) string {
			ops := make([]string, 9990)
			for i := range ops {
				ops[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
			}
			return "[" + before + strings.Join(ops, ",") + "]"
		}
	}
	big := `"` + strings.Repeat("x", 100<<10) + `"`
	nested := strings.Repeat(`{"a":`, 55) + big + strings.Repeat("}", 55)
	return []text{
		{"a patch of many operations", operations(`{"op":"add","path":"/metadata/labels/a","value":"b"}`)},
		{"a patch of empty operations", operations(`{}`)},
		{"a patch of nulls", operations(`null`)},
		{"a patch of as many labels as it may", most(`{"op":"add","path":"/metadata/labels","value":{}},`, `{"op":"add","path":"/metadata/labels/l#","value":"b"}`)},
		{"a patch at the front of an array", most(`{"op":"add","path":"/u","value":[]},`, `{"op":"add","path":"/u/0","value":0}`)},
		{"a patch at the end of an array", most(`{"op":"add","path":"/u","value":[]},`, `{"op":"add","path":"/u/-","value":0}`)},
		{"a patch that copies an array into itself", most(`{"op":"add","path":"/u","value":[0]},`, `{"op":"copy","from":"/u","path":"/u/-"}`)},
		{"a patch that copies a text", most(`{"op":"add","path":"/u","value":`+big+`},`, `{"op":"copy","from":"/u","path":"/u#"}`)},
		{"a patch that copies a record into itself", most("", `{"op":"copy","from":"","path":"/u"}`)},
		{"a patch that moves a large thing", most(`{"op":"add","path":"/u","value":`+nested+`},{"op":"add","path":"/v","value":0},`, `{"op":"move","from":"/u","path":"/u"}`)},
		{"a patch that moves into itself", most(`{"op":"add","path":"/u","value":{}},`, `{"op":"move","from":"/u","path":"/u/u"}`)},
		{"a patch that digs", most(`{"op":"add","path":"/u","value":`+nested+`},`, `{"op":"add","path":"/u`+strings.Repeat("/a", 20)+`/b","value":0}`)},
		{"a patch that tests a large thing", most(`{"op":"add","path":"/u","value":`+nested+`},`, `{"op":"test","path":"/u","value":0}`)},
		{"a patch that tests the record", most("", `{"op":"test","path":"","value":{}}`)},
		{"a patch of a path without end", func(size int) string { return `[{"op":"add","path":"` + strings.Repeat("/a", size/2) + `","value":0}]` }},
		{"a patch of a path of tildes", func(size int) string {
			return `[{"op":"add","path":"/` + strings.Repeat("~1", size/2) + `","value":0}]`
		}},
		{"a patch of an index without end", func(size int) string {
			return `[{"op":"add","path":"/metadata/finalizers/` + strings.Repeat("1", size) + `","value":0}]`
		}},
		{"a patch of an operation without end", func(size int) string { return `[{"op":"` + strings.Repeat("x", size) + `","path":"/u"}]` }},
		{"a patch that replaces all by nothing", func(int) string { return `[{"op":"replace","path":""}]` }},
		{"a patch that tests a null", func(int) string {
			return `[{"op":"add","path":"/u","value":[null]},{"op":"test","path":"/u","value":[null]}]`
		}},
		{"a patch of nested arrays", func(size int) string { return `[{"op":"add","path":"/u","value":` + deep(size, "[", "", "]") + `}]` }},
	}
}

// queries are requests without a body.
func queries() []Recipe {
	const room = 60 << 10 // of a header, as the admin endpoint takes it
	get := func(name, query string) Recipe {
		return Recipe{name, []Request{{Method: "GET", Path: base + "?" + query}, {Method: "DELETE", Path: base + "?" + query}}}
	}
	selector := func(key string, item func(i int) string) string {
		return key + "=" + fill(room, url.QueryEscape(","), func(i int) string { return url.QueryEscape(item(i)) })
	}
	return []Recipe{
		get("a selector of many labels", selector("labelSelector", func(i int) string { return fmt.Sprintf("!l%d", i) })),
		get("a selector of many values", "labelSelector=a+notin+("+strings.Repeat("b,", room/2)+"c)"),
		get("a selector of brackets", "labelSelector="+strings.Repeat("(", room)),
		get("a selector of many fields", selector("fieldSelector", same("spec.name!=a"))),
		get("a selector of backslashes", "fieldSelector=spec.name="+strings.Repeat(`\\`, room/2)),
		get("a continue token without end", "continue="+strings.Repeat("e30", room/3)),
		get("a limit without end", "limit="+strings.Repeat("9", room)),
		get("many parameters", fill(room, "&", same("dryRun=x"))),
		{"a path without end", []Request{{Method: "GET", Path: base + "/" + strings.Repeat("a", room)}, {Method: "DELETE", Path: base + "/" + strings.Repeat("a", room)}}},
		{"an Accept header without end", []Request{{Method: "GET", Path: base, Header: map[string]string{"Accept": strings.Repeat("a/b;q=0.1,", room/10), "Accept-Encoding": strings.Repeat("gzip;q=0,", room/9)}}}},
	}
}
