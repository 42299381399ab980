package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	kjson "sigs.k8s.io/json"
)

// patchJSON applies a JSON patch to a document.
func patchJSON(document, patch string) (string, error) {
	s := &Server{}
	s.cfg.Limits = Limits{}.withDefaults()
	apply, _, err := s.jsonPatch([]byte(patch))
	if err != nil {
		return "", err
	}
	out, err := apply(context.Background(), []byte(document))
	return string(out), err
}

func TestJSONPatch(t *testing.T) {
	for _, tc := range []struct{ document, patch, want string }{
		// RFC 6902, appendix A.
		{`{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"baz":"qux","foo":"bar"}`},
		{`{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`},
		{`{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`},
		{`{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`},
		{`{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`},
		{`{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`, `[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`},
		{`{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`},
		{`{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]`, `{"baz":"qux","foo":["a",2,"c"]}`},
		{`{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, `error: operation 0 (test /baz): the test failed`},
		{`{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"child":{"grandchild":{}},"foo":"bar"}`},
		{`{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, `error: operation 0 (add /baz/bat): there is nothing at this path`},
		{`{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10}]`, `{"/":9,"~1":10}`},
		{`{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, `error: operation 0 (test /~01): the test failed`},
		{`{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`},
		// What Kubernetes takes beyond it.
		{`{"a":[1,2,3]}`, `[{"op":"remove","path":"/a/-1"}]`, `{"a":[1,2]}`},
		{`{"a":1}`, `[{"op":"test","path":"/b","value":null}]`, `{"a":1}`},
		{`{"a":1}`, `[{"op":"add","path":"/b"}]`, `{"a":1,"b":null}`},
		// Copies are copies, and so are values that are added.
		{`{"a":{"b":[]}}`, `[{"op":"copy","from":"/a","path":"/c"},{"op":"add","path":"/c/b/-","value":1}]`, `{"a":{"b":[]},"c":{"b":[1]}}`},
		{`{}`, `[{"op":"add","path":"/u","value":[null]},{"op":"test","path":"/u","value":[null]}]`, `{"u":[null]}`},
		{`{"a":1}`, `[{"op":"replace","path":"","value":{"b":2}}]`, `{"b":2}`},
		{`{"a":1}`, `[{"op":"replace","path":""}]`, `null`},
		{`{"a":1}`, `[{"op":"copy","from":"","path":"/b"}]`, `{"a":1,"b":{"a":1}}`},
		{`{"a":1.0}`, `[{"op":"test","path":"/a","value":1}]`, `{"a":1}`},
		{`{"a":9007199254740993}`, `[{"op":"test","path":"/a","value":9007199254740993}]`, `{"a":9007199254740993}`},
		// Refused.
		{`{"a":{}}`, `[{"op":"move","from":"/a","path":"/a/b"}]`, `error: operation 0 (move /a/b): there is nothing at this path`},
		{`{"a":[]}`, `[{"op":"add","path":"/a/1","value":0}]`, `error: operation 0 (add /a/1): there is nothing at this path`},
		{`{"a":[]}`, `[{"op":"add","path":"/a/99999999999999999999","value":0}]`, `error: operation 0 (add /a/99999999999999999999): there is nothing at this path`},
		{`{"a":[]}`, `[{"op":"replace","path":"/a/x","value":0}]`, `error: operation 0 (replace /a/x): "x" is no index of an array`},
		{`{"a":1}`, `[{"op":"add","path":"a","value":0}]`, `error: operation 0 (add a): a path is empty or begins with a slash (RFC 6901)`},
		{`{"a":1}`, `[{"op":"replace","path":"/b","value":0}]`, `{"a":1,"b":0}`},
		{`{}`, `[{"op":"add","value":0}]`, `error: operation 0: path must be a string`},
		{`{}`, `[{"op":"move","path":"/a"}]`, `error: operation 0: from must be a string`},
		{`{}`, `[{"op":7}]`, `error: operation 0: op must be a string`},
		{`{}`, `[{"op":"add","path":"` + strings.Repeat("/a", maxDepth+1) + `"}]`, `error: operation 0 (add ` + strings.Repeat("/a", 64) + `…): there is nothing at this path`},
	} {
		got, err := patchJSON(tc.document, tc.patch)
		if err != nil {
			got = "error: " + strings.TrimPrefix(err.Error(), "the JSON patch does not apply: ")
		}
		if got != tc.want {
			t.Errorf("%s by %s: %s, want %s", tc.document, tc.patch, got, tc.want)
		}
	}
}

func TestJSONPatchIsBounded(t *testing.T) {
	s := &Server{}
	s.cfg.Limits = Limits{}.withDefaults()
	many := func(n int, op string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(op+",", n), ",") + "]"
	}
	for _, tc := range []struct {
		is, patch string
		code      int32
	}{
		{"as many operations as there may be", many(maxPatchOperations, `{"op":"add","path":"/a","value":1}`), 0},
		{"one more", many(maxPatchOperations+1, `{"op":"add","path":"/a","value":1}`), 413},
		{"copies of copies", `[{"op":"add","path":"/a","value":[0]},` + many(40, `{"op":"copy","from":"/a","path":"/a/-"}`)[1:], 422},
		{"a long array", `[{"op":"add","path":"/a","value":[]},` + many(maxMembers+1, `{"op":"add","path":"/a/0","value":0}`)[1:], 422},
	} {
		if _, err := patchJSON(`{}`, tc.patch); codeOf(err) != tc.code || tc.code == 0 && err != nil {
			t.Errorf("%s: %.200v, want %d", tc.is, err, tc.code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	apply, _, err := s.jsonPatch([]byte(`[{"op":"add","path":"/a","value":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apply(ctx, []byte(`{}`)); err != context.Canceled {
		t.Errorf("after the client has left: %v", err)
	}
}

func TestMergePatch(t *testing.T) {
	// RFC 7396, appendix A, of objects.
	for _, tc := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target, patch any
		if json.Unmarshal([]byte(tc.target), &target) != nil || json.Unmarshal([]byte(tc.patch), &patch) != nil {
			t.Fatal(tc)
		}
		for range 2 { // a patch is applied again after a conflict
			if out, err := json.Marshal(mergeJSON(target, patch)); err != nil || string(out) != tc.want {
				t.Errorf("%s by %s: %s, want %s", tc.target, tc.patch, out, tc.want)
			}
		}
	}
}

// FuzzJSONPatch holds patches against the library that Kubernetes uses: what
// both take, they do alike. The library panics at some of what it is given, and
// takes paths without a slash; ours never does either.
func FuzzJSONPatch(f *testing.F) {
	for _, seed := range []string{
		`[{"op":"add","path":"/a/0","value":{"x":[1]}},{"op":"move","from":"/a/0/x","path":"/b"}]`,
		`[{"op":"copy","from":"/c","path":"/c/d"},{"op":"remove","path":"/c/d/e"},{"op":"test","path":"/c","value":{"e":null}}]`,
		`[{"op":"replace","path":"/a/-1","value":7},{"op":"add","path":"/a/-","value":[null]},{"op":"test","path":"/a/3","value":[null]}]`,
		`[{"op":"replace","path":""}]`, `[null]`, `[{"op":"add","path":"/~01/~1"}]`,
	} {
		f.Add([]byte(seed))
	}
	const document = `{"a":[1,"2",null],"b":{"x/y":1,"~":2},"c":{"e":null,"f":[[],{}]}}`
	f.Fuzz(func(t *testing.T, patch []byte) {
		ours, err := patchJSON(document, string(patch))
		if err != nil {
			return
		}
		theirs, err := libraryPatch([]byte(document), patch)
		if err != nil {
			return
		}
		var a, b any
		if kjson.UnmarshalCaseSensitivePreserveInts([]byte(ours), &a) != nil || kjson.UnmarshalCaseSensitivePreserveInts(theirs, &b) != nil {
			t.Fatalf("%s: ours %s, the library's %s", patch, ours, theirs)
		}
		if !equalJSON(a, b) {
			t.Errorf("%s: ours %s, the library's %s", patch, ours, theirs)
		}
	})
}

func libraryPatch(document, patch []byte) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the library panics: %v", r)
		}
	}()
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	return p.Apply(document)
}
