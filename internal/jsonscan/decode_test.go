package jsonscan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type word string

type embedded struct {
	Kind word `json:"kind,omitempty"`
}

// sample has a field of every kind that is decoded.
type sample struct {
	embedded `json:",inline"`

	Text     string            `json:"text"`
	Untagged bool              // its name is its key
	Hidden   string            `json:"-"`
	Small    int8              `json:"small"`
	Number   *int64            `json:"number"`
	Time     metav1.Time       `json:"time"`
	Later    *metav1.Time      `json:"later"`
	Raw      json.RawMessage   `json:"raw"`
	Fields   *metav1.FieldsV1  `json:"fields"`
	Texts    map[string]string `json:"texts"`
	List     []word            `json:"list"`
	Inner    []struct {
		A *bool   `json:"a"`
		B [][]int `json:"b"`
	} `json:"inner"`

	unexported int
}

var samples = NewDecoder[sample]("common")

// texts says of JSON texts whether they are of the usual form.
var texts = map[string]bool{
	`{}`: true, `null`: true, " {\n\"kind\"\t:\r\"x\" } ": true,
	`{"kind":"k","text":"common","Untagged":true,"small":-128,"number":9223372036854775807,"time":"2026-03-04T05:06:07Z","later":"2026-03-04T05:06:07.5+01:00"}`:   true,
	`{"raw":{"a":[1,-2.5e+3,0.1E-2,true,false,null,"\u00e9\\"]},"fields":{"f:a":{}},"texts":{"a":"","b":null,"a":"c"},"list":["a","a"]}`:                           true,
	`{"list":[],"texts":{},"inner":[{"a":null,"b":[[1,2],[],null]},null,{"a":true},{"a":false}]}`:                                                                  true,
	`{"kind":null,"text":null,"Untagged":null,"small":null,"number":null,"time":null,"later":null,"raw":null,"fields":null,"texts":null,"list":null,"inner":null}`: true,
	`{"text":"\ud83d\ude00 \ud800 \/ é 😀","texts":{"\u0061\n":"\t"}}`:                                                                                              true,
	"{\"text\":\"\xff\",\"texts\":{\"\xff\":\"\xc3\"}}":                                                                                                            true, // U+FFFD in both
	`{"small":-0,"list":[null],"time":"2026-03-04T5:06:07Z"}`:                                                                                                      true,
	`{"raw":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`:                                                                            true,
	`{"raw":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`:                                                                                false,

	// What encoding/json takes too, but by rules of its own.
	`{"TEXT":"a"}`: false, `{"te\u0078t":"a"}`: false, `{"text":"a","text":"b"}`: false, `{"unknown":1}`: false,
	`{"Hidden":"a"}`: false, `{"unexported":1}`: false,

	// What it refuses.
	``: false, ` `: false, `{`: false, `{"text"`: false, `{"text":`: false, `{"text":"`: false, `{"text":"a"`: false, `{"text":"a",`: false,
	`{"text":"a",}`: false, `{,}`: false, `{"text" "a"}`: false, `{"text":"a"}}`: false, `{"text":"a"}{}`: false, "{}\x00": false, `{text:"a"}`: false,
	`{"text":"\x"}`: false, `{"text":"\u12g4"}`: false, `{"text":"\u12"}`: false, `{"text":"\`: false, "{\"text\":\"a\nb\"}": false, "{\"te\x01xt\":\"a\"}": false,
	`{"text":1}`: false, `{"text":nul}`: false, `{"Untagged":1}`: false, `{"Untagged":truex}`: false, `[]`: false, `"text"`: false,
	`{"small":128}`: false, `{"small":1.0}`: false, `{"small":1e1}`: false, `{"small":01}`: false, `{"small":-}`: false, `{"small":+1}`: false, `{"small":"1"}`: false,
	`{"number":9223372036854775808}`: false, `{"number":99999999999999999999999999999999}`: false, `{"time":"today"}`: false, `{"time":1}`: false,
	`{"raw":1.}`: false, `{"raw":.5}`: false, `{"raw":1e}`: false, `{"raw":-a}`: false, `{"raw":00}`: false, `{"raw":[1,]}`: false, `{"raw":[,1]}`: false,
	`{"raw":[1 2]}`: false, `{"raw":{"a"}}`: false, `{"raw":{"a":1,}}`: false, `{"raw":{1:2}}`: false, `{"raw":[}`: false, `{"raw":tru}`: false, `{"raw":}`: false,
	`{"texts":{"a":1}}`: false, `{"texts":{null:"a"}}`: false, `{"texts":[]}`: false, `{"list":{}}`: false, `{"list":["a"}`: false, `{"inner":[{"b":[1]}]}`: false,
}

func TestDecodeTakesTheUsualForm(t *testing.T) {
	for text, usual := range texts {
		got, ok := samples.Decode([]byte(text))
		if ok != usual {
			t.Errorf("%.200s is decoded: %v, want %v", text, ok, usual)
		}
		if ok {
			asEncodingJSON(t, []byte(text), got)
		}
		if ok && got.unexported != 0 {
			t.Errorf("%.200s sets a field that is not exported", text)
		}
	}
}

// asEncodingJSON holds that what was decoded is what encoding/json decodes.
func asEncodingJSON[T any](t *testing.T, data []byte, got *T) {
	t.Helper()
	want := new(T)
	if err := json.Unmarshal(data, want); err != nil {
		t.Fatalf("%q was decoded, but encoding/json refuses it: %v", data, err)
	}
	if d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
		t.Fatalf("%q (-encoding/json +decoded):\n%s", data, d)
	}
}

func FuzzDecode(f *testing.F) {
	for text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, ok := samples.Decode(data); ok {
			asEncodingJSON(t, data, got)
		}
	})
}

// What is decoded must not change when the store reuses its memory.
func TestDecodeSharesNoMemory(t *testing.T) {
	data := []byte(`{"kind":"k","raw":{"a":1},"fields":{"f:a":{}},"texts":{"a":"b"},"list":["c"]}`)
	before, _ := samples.Decode(data)
	want := fmt.Sprintf("%s %s %s %s %s", before.Kind, before.Raw, before.Fields.GetRawString(), before.Texts, before.List)
	clear(data)
	if got := fmt.Sprintf("%s %s %s %s %s", before.Kind, before.Raw, before.Fields.GetRawString(), before.Texts, before.List); got != want {
		t.Errorf("%s became %s", want, got)
	}
}

type recursive struct {
	Next *recursive `json:"next"`
}

// Types for which encoding/json has rules of its own are left to it, wherever
// they stand.
func TestDecodeLeavesOtherTypes(t *testing.T) {
	left(t, `{"v":1}`, NewDecoder[struct {
		V any `json:"v"`
	}]())
	left(t, `{"v":"1"}`, NewDecoder[struct {
		V int `json:"v,string"`
	}]())
	left(t, `{"v":"AQ=="}`, NewDecoder[struct {
		V []byte `json:"v"`
	}]())
	left(t, `{"v":{"a":1}}`, NewDecoder[struct {
		V map[string]int `json:"v"`
	}]())
	left(t, `{"v":1}`, NewDecoder[struct {
		V float64 `json:"v"`
	}]())
	left(t, `{"next":{"next":null}}`, NewDecoder[recursive]())
	left(t, `{"kind":"a"}`, NewDecoder[struct {
		*embedded
	}]())
	left(t, `{"kind":"a"}`, NewDecoder[struct {
		embedded
		Kind string `json:"kind"`
	}]())
}

func left[T any](t *testing.T, text string, d *Decoder[T]) {
	t.Helper()
	if _, ok := d.Decode([]byte(text)); ok {
		t.Errorf("%T decodes %s", *new(T), text)
	}
}
