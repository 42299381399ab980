package apiserver

// equalJSON compares decoded JSON by value, numbers as numbers (RFC 6902
// section 4.6). It costs no more than the smaller of the two.
func equalJSON(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !equalJSON(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equalJSON(a[i], b[i]) {
				return false
			}
		}
		return true
	case int64:
		if f, ok := b.(float64); ok {
			return float64(a) == f
		}
	case float64:
		if i, ok := b.(int64); ok {
			return a == float64(i)
		}
	}
	return a == b
}

// sizeJSON is about how many bytes a decoded value has as JSON; it stops soon
// after most.
func sizeJSON(v any, most int) int {
	n := 8
	switch v := v.(type) {
	case string:
		n += len(v)
	case map[string]any:
		for k, e := range v {
			if n += len(k) + sizeJSON(e, most-n); n > most {
				break
			}
		}
	case []any:
		for _, e := range v {
			if n += sizeJSON(e, most-n); n > most {
				break
			}
		}
	}
	return n
}

// mergeJSON merges a patch into a decoded value, which it changes, and returns
// the outcome (RFC 7396 section 2). Nothing of the patch is kept that a later
// change could reach.
func mergeJSON(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = make(map[string]any, len(p))
	}
	for k, v := range p {
		if v == nil {
			delete(t, k)
			continue
		}
		t[k] = mergeJSON(t[k], v)
	}
	return t
}
