package apiserver

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func nested(levels int) string {
	return strings.Repeat("[", levels) + strings.Repeat("]", levels)
}

func TestWeigh(t *testing.T) {
	b := bounds{content: 1 << 20, values: maxValues, members: maxMembers}
	for _, tc := range []struct {
		is, data string
		code     int32
		says     string
	}{
		{"a small object", `{"a":[1,2,{"b":null}],"c":"x"}`, 0, ""},
		{"nothing", ``, 0, ""},
		{"as many levels as there may be", nested(maxDepth), 0, ""},
		{"one level more", nested(maxDepth + 1), 400, "deeper than 64 levels"},
		{"levels without an end", strings.Repeat(`{"a":`, 1e6), 400, "deeper than 64 levels, at a.a.a"},
		{"brackets inside a text", `{"a":"` + strings.Repeat(`[\"`, 1000) + `"}`, 0, ""},
		{"closing brackets alone", strings.Repeat("]", 100) + strings.Repeat("}", 100), 0, ""},
		{"as many members as there may be", `{"a":[` + strings.Repeat("1,", maxMembers-1) + `1]}`, 0, ""},
		{"one member more", `{"a":{"b":[` + strings.Repeat("1,", maxMembers) + `1]}}`, 422, "a.b: Too many: 4097: must have at most 4096 items"},
		{"an object of too many members", `{"a":{` + strings.Repeat(`"x":1,`, maxMembers) + `"x":1}}`, 422, "a: Too many"},
		{"a wide top", `{` + strings.Repeat(`"x":1,`, maxMembers) + `"x":1}`, 413, "more than 4096 members at its top"},
		{"members of an item", `{"a":[1,[` + strings.Repeat("1,", maxMembers) + `1]]}`, 422, "a[1]: Too many"},
		{"many values in all", `{"a":[` + strings.Repeat(`[`+strings.Repeat("1,", 999)+`1],`, 20) + `1]}`, 413, "more than 20000 values"},
		{"a long key", `{"` + strings.Repeat("k", maxKey) + `":1}`, 400, "a key of 8192 bytes"},
		{"a long text", `{"a":"` + strings.Repeat("k", 1<<19) + `"}`, 0, ""},
		{"a long number", `{"a":{"b":` + strings.Repeat("1", maxNumber+1) + `}}`, 400, "at a.b"},
		{"white space", strings.Repeat(" \n\t\r", 1<<20) + `{}`, 0, ""},
		{"much beside white space", `{"a":"` + strings.Repeat("k", 1<<20) + `"}`, 413, "more than 1048576 bytes"},
		{"a text without an end", `{"a":"` + strings.Repeat(`\`, 99), 0, ""},
		{"escaped quotes", `{"a\"b":"\\"}`, 0, ""},
	} {
		t.Run(tc.is, func(t *testing.T) {
			data := []byte(tc.data)
			err := weigh(data, b)
			var status apierrors.APIStatus
			if code := codeOf(err); code != tc.code || tc.code != 0 && (!errors.As(err, &status) || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%d %v; want %d and %q", code, err, tc.code, tc.says)
			}
			if tc.code == 0 {
				if n := testing.AllocsPerRun(1, func() { _ = weigh(data, b) }); n > 0 {
					t.Errorf("%v allocations", n)
				}
			}
		})
	}
}

// codeOf is the HTTP status of an error; 0: there is none.
func codeOf(err error) int32 {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Code
	}
	return 0
}

// A text that is refused is not read beyond what refuses it: bounding levels
// costs the same whatever follows.
func TestWeighStopsAtOnce(t *testing.T) {
	s := scale{data: []byte(strings.Repeat("[", 3<<20)), b: bounds{content: 3 << 20, values: maxValues, members: maxMembers}}
	for i := 0; ; i++ {
		n, err := s.next(i)
		if err != nil {
			if i != maxDepth {
				t.Errorf("refused at byte %d", i)
			}
			return
		}
		if n != 1 {
			t.Fatalf("token of %d bytes", n)
		}
	}
}

func TestYAMLIsWeighedBeforeItIsParsed(t *testing.T) {
	b := bounds{content: 1 << 20, values: maxValues, members: maxMembers}
	bomb := "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 30 {
		n, m := string(rune('a'+i%26))+strings.Repeat("z", i/26), ""
		if i > 0 {
			m = string(rune('a'+(i-1)%26)) + strings.Repeat("z", (i-1)/26)
		} else {
			m = "a0"
		}
		bomb += n + "k: &" + n + " [" + strings.TrimSuffix(strings.Repeat("*"+m+",", 9), ",") + "]\n"
	}
	for _, tc := range []struct {
		is, data string
		code     int32
		says     string
	}{
		{"a record", "spec:\n  name: a\n  target: {ref: {kind: Gateway, name: x}}\n", 0, ""},
		{"an anchor and its alias", "a: &a {b: 1}\nc: *a\n", 0, ""},
		{"a merge key", "a: &a {b: 1}\nc: {<<: *a, d: 2}\n", 0, ""},
		{"a wildcard beside an anchor", "a: &x 1\nname: '*.example.com'\n", 0, ""},
		{"aliases of aliases", bomb, 413, "with its aliases written out"},
		{"a text again and again", "a: &a " + strings.Repeat("x", 1<<19) + "\nb: [*a, *a, *a]\n", 413, "with its aliases written out"},
		{"an alias of itself", "a: &a [*a]\n", 400, "its own alias"},
		{"levels by aliases", "a: &a " + nested(40) + "\nb: &b [*a]\nc: " + strings.Repeat("[", 40) + "*b" + strings.Repeat("]", 40) + "\n", 400, "deeper than 64 levels"},
		{"levels", "a: " + nested(64) + "\n", 400, "deeper than 64 levels"},
		{"as many levels as there may be", "a: " + nested(63) + "\n", 0, ""},
		{"JSON of too many levels", nested(65), 400, "deeper than 64 levels"},
		{"levels without an end", "a: " + strings.Repeat("[", 1<<19), 413, "brackets"},
		{"lines", "a:\n" + strings.Repeat("- b\n", 1<<17), 413, "lines"},
		{"comments", strings.Repeat("#\n", 1<<17), 413, "lines"},
		{"documents", strings.Repeat("---\n", 1<<17), 413, "lines"},
		{"dashes on one line", "a:\n " + strings.Repeat(" -", 1<<17) + " b\n", 413, "dashes"},
		{"a long text", "a: " + strings.Repeat("x", 1<<20) + "\n", 413, "more than 1048576 bytes"},
		{"UTF-16", "\xff\xfea\x00", 413, ""},
		{"a tag of nothing", "a: !!int x\n", 400, "decoding the YAML body"},
	} {
		t.Run(tc.is, func(t *testing.T) {
			_, _, err := fromYAML([]byte(tc.data), b)
			if code := codeOf(err); code != tc.code || tc.code != 0 && !strings.Contains(err.Error(), tc.says) || tc.code == 0 && err != nil {
				t.Errorf("%d %v; want %d and %q", code, err, tc.code, tc.says)
			}
		})
	}
}
