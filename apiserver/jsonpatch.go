package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// maxPatchOperations bounds a JSON patch, as in Kubernetes.
	maxPatchOperations = 10_000
	// maxCopied bounds what a patch's copies add up to, in bytes of about the
	// size of their JSON.
	maxCopied = 3 << 20
)

// patchOp is one of a JSON patch (RFC 6902 section 4).
type patchOp struct {
	op, path, from string
	value          any
}

// patchDocument is the document that a JSON patch works on.
type patchDocument struct {
	root   any
	copied int
}

// patchOpOf reads one operation from its decoded JSON. A value that is left
// out is null, as in Kubernetes.
func patchOpOf(v any) (o patchOp, err error) {
	m, _ := v.(map[string]any) // null is an operation without an op
	text := func(key string, required bool) string {
		s, ok := m[key].(string)
		if !ok && required && err == nil {
			err = fmt.Errorf("%s must be a string", key)
		}
		return s
	}
	o = patchOp{op: text("op", true), value: m["value"]}
	switch o.op {
	case "add", "remove", "replace", "test":
		o.path = text("path", true)
	case "move", "copy":
		o.path, o.from = text("path", true), text("from", true)
	default:
		if err == nil {
			err = fmt.Errorf("op %q is none of add, remove, replace, move, copy and test", cut(o.op))
		}
	}
	return o, err
}

// applyPatch applies operations, in their order, to a decoded JSON document,
// which it changes, and returns the outcome. Values are copied, so that ops can
// be applied again. It works on the tree, so that no operation costs more than
// what it names: no value is parsed again. It ends with ctx.
func applyPatch(ctx context.Context, root any, ops []patchOp) (any, error) {
	d := patchDocument{root: root}
	for i, o := range ops {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.apply(o); err != nil {
			return nil, fmt.Errorf("operation %d (%s %s): %w", i, o.op, cut(o.path), err)
		}
	}
	return d.root, nil
}

func (d *patchDocument) apply(o patchOp) error {
	switch o.op {
	case "add":
		return d.put(o.path, runtime.DeepCopyJSONValue(o.value), true)
	case "replace":
		return d.put(o.path, runtime.DeepCopyJSONValue(o.value), false)
	case "remove":
		return d.remove(o.path)
	case "test":
		v, err := d.get(o.path)
		switch {
		case errors.Is(err, errNoValue) && o.value == nil:
			return nil // as in Kubernetes: what is not there is null
		case err != nil:
			return err
		case !equalJSON(v, o.value):
			return errors.New("the test failed")
		}
		return nil
	}
	v, err := d.get(o.from)
	if err != nil {
		return fmt.Errorf("from %s: %w", cut(o.from), err)
	}
	if o.op == "move" {
		if err := d.remove(o.from); err != nil {
			return fmt.Errorf("from %s: %w", cut(o.from), err)
		}
		return d.put(o.path, v, true)
	}
	if d.copied += sizeJSON(v, maxCopied-d.copied); d.copied > maxCopied {
		return fmt.Errorf("the patch copies more than %d bytes", maxCopied)
	}
	return d.put(o.path, runtime.DeepCopyJSONValue(v), true)
}

// get returns the value that a JSON pointer names (RFC 6901).
func (d *patchDocument) get(pointer string) (any, error) {
	tokens, err := tokensOf(pointer)
	v := d.root
	for _, t := range tokens {
		switch in := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = in[t]; !ok {
				return nil, errNoValue
			}
		case []any:
			i, err := indexOf(t, len(in), len(in)-1)
			if err != nil {
				return nil, err
			}
			v = in[i]
		default:
			return nil, errNoValue
		}
	}
	return v, err
}

// put sets the value at a pointer; add inserts into an array, where it may stand
// behind the last. An object's member that is not there is made by a replace too:
// RFC 6902 section 4.3 would have it fail, but Kubernetes' patches do not.
func (d *patchDocument) put(pointer string, v any, add bool) error {
	return d.change(pointer, v, func(in any, last string) (any, error) {
		switch in := in.(type) {
		case map[string]any:
			in[last] = v
			return in, nil
		case []any:
			return putInArray(in, last, v, add)
		}
		return nil, errNoValue
	})
}

func putInArray(in []any, token string, v any, add bool) (any, error) {
	switch {
	case !add:
		i, err := indexOf(token, len(in), len(in)-1)
		if err != nil {
			return nil, err
		}
		in[i] = v
		return in, nil
	case len(in) >= maxMembers:
		return nil, fmt.Errorf("the array would have more than %d members", maxMembers)
	case token == "-":
		return append(in, v), nil
	}
	i, err := indexOf(token, len(in)+1, len(in))
	if err != nil {
		return nil, err
	}
	return slices.Insert(in, i, v), nil
}

func (d *patchDocument) remove(pointer string) error {
	return d.change(pointer, nil, func(in any, last string) (any, error) {
		switch in := in.(type) {
		case map[string]any:
			if _, ok := in[last]; !ok {
				return nil, errNoValue
			}
			delete(in, last)
			return in, nil
		case []any:
			i, err := indexOf(last, len(in), len(in)-1)
			if err != nil {
				return nil, err
			}
			return slices.Delete(in, i, i+1), nil
		}
		return nil, errNoValue
	})
}

// change calls f with the object or array that the pointer's last token leads from,
// and puts what f returns in its place. For the pointer to the whole document, which
// has no token, v takes the place of the document.
func (d *patchDocument) change(pointer string, v any, f func(in any, last string) (any, error)) error {
	tokens, err := tokensOf(pointer)
	switch {
	case err != nil:
		return err
	case len(tokens) == 0:
		d.root = v
		return nil
	}
	out, err := changeAt(d.root, tokens, f)
	if err == nil {
		d.root = out
	}
	return err
}
