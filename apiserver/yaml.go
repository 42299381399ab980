package apiserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"
)

// maxYAMLTokens bounds what a YAML text can consist of: lines, and marks that
// can begin a value inside one. Its parser takes some microseconds for each.
const maxYAMLTokens = 10_000

// fromYAML turns YAML into JSON within the bounds, which it passes on as it is:
// kubectl sends JSON under either name. Duplicate keys are returned apart, as it
// is the caller's to say whether they matter.
func fromYAML(data []byte, b bounds) (out []byte, strict []error, err error) {
	if looksJSON(data) && json.Valid(data) {
		return data, nil, weigh(data, b)
	}
	if err := checkYAML(data, b); err != nil {
		return nil, nil, err
	}
	if out, err = yaml.YAMLToJSONStrict(data); err == nil {
		return out, nil, weigh(out, b)
	}
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	strict = []error{errors.New(strings.Join(strings.Fields(cutTo(text, maxWarnings)), " "))} // a header is one line
	if out, err = yaml.YAMLToJSON(data); err != nil {
		return nil, nil, apierrors.NewBadRequest("decoding the YAML body: " + err.Error())
	}
	return out, strict, weigh(out, b)
}

// looksJSON tells whether a text can be a JSON object or array at all.
func looksJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// checkYAML refuses YAML that costs more to parse than it is worth, before it is
// parsed.
func checkYAML(data []byte, b bounds) error {
	if len(data) > b.content {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the YAML body has more than %d bytes", b.content))
	}
	if yamlTokens(data) > maxYAMLTokens {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"the YAML body has more than %d lines, dashes, brackets and commas: send JSON if you need as many", maxYAMLTokens))
	}
	if bytes.IndexByte(data, '&') >= 0 && bytes.IndexByte(data, '*') >= 0 {
		return weighAliases(data, b)
	}
	return nil
}

// yamlTokens is how many values a YAML text can have at most, without its
// aliases: each stands on a line of its own or behind one of the marks counted.
// Such marks inside texts are counted too.
func yamlTokens(data []byte) int {
	n := 0
	for i, c := range data {
		switch c {
		case '\n', '\r', ',', '[', '{':
			n++
		case '-', '?', ':':
			if i+1 == len(data) || data[i+1] <= ' ' {
				n++
			}
		case 0xE2, 0xC2: // YAML 1.1 breaks lines at U+2028, U+2029 and U+0085
			if i+1 < len(data) && (data[i+1] == 0x80 || data[i+1] == 0x85) {
				n++
			}
		case 0: // UTF-16, which no client sends
			n += maxYAMLTokens + 1
		}
	}
	return n
}

// weighAliases holds a YAML text to the bounds with every alias written out,
// without writing one out.
func weighAliases(data []byte, b bounds) error {
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal(data, &doc); err != nil {
		return apierrors.NewBadRequest("decoding the YAML body: " + err.Error())
	}
	w := aliasScale{known: map[*yamlv3.Node]weight{}}
	got := w.of(&doc)
	switch {
	case w.loops:
		return apierrors.NewBadRequest("decoding the YAML body: an anchor contains its own alias")
	case got.depth > maxDepth+1: // the document is a level of its own
		return apierrors.NewBadRequest(fmt.Sprintf("the body is nested deeper than %d levels", maxDepth))
	case got.values > b.values || got.bytes > b.content:
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"the YAML body, with its aliases written out, has more than %d values or %d bytes", b.values, b.content))
	}
	return nil
}

// weight is what a YAML node comes to with its aliases written out. Counts stop
// at heaviest, so that they cannot overflow.
type weight struct{ values, bytes, depth int }

const heaviest = 1 << 30

// aliasScale weighs each node once.
type aliasScale struct {
	// known holds nodes that are weighed; one that is being weighed has depth -1.
	known map[*yamlv3.Node]weight
	// loops: a node contains itself.
	loops bool
}

func (w *aliasScale) of(n *yamlv3.Node) weight {
	if got, ok := w.known[n]; ok {
		w.loops = w.loops || got.depth < 0
		return got
	}
	w.known[n] = weight{depth: -1}
	sum := weight{values: 1, bytes: len(n.Value)}
	children := n.Content
	if n.Kind == yamlv3.AliasNode {
		children, sum = []*yamlv3.Node{n.Alias}, weight{}
	}
	deepest := 0
	for _, c := range children {
		got := w.of(c)
		deepest = max(deepest, got.depth)
		sum.values = min(sum.values+got.values, heaviest)
		sum.bytes = min(sum.bytes+got.bytes, heaviest)
	}
	if sum.depth = deepest; n.Kind != yamlv3.AliasNode && n.Kind != yamlv3.ScalarNode {
		sum.depth++
	}
	w.known[n] = sum
	return sum
}
