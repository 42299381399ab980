package apiserver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The faults of a JSON pointer.
var (
	errNoValue   = errors.New("there is nothing at this path")
	errNoPointer = errors.New("a path is empty or begins with a slash (RFC 6901)")
)

// changeAt does the work of patchDocument.change on in, the object or array that the
// first token leads from; there are from one to maxDepth tokens.
func changeAt(in any, tokens []string, f func(in any, last string) (any, error)) (any, error) {
	if len(tokens) == 1 {
		return f(in, tokens[0])
	}
	switch in := in.(type) {
	case map[string]any:
		child, ok := in[tokens[0]]
		if !ok {
			return nil, errNoValue
		}
		out, err := changeAt(child, tokens[1:], f)
		if err != nil {
			return nil, err
		}
		in[tokens[0]] = out
		return in, nil
	case []any:
		i, err := indexOf(tokens[0], len(in), len(in)-1)
		if err != nil {
			return nil, err
		}
		out, err := changeAt(in[i], tokens[1:], f)
		if err != nil {
			return nil, err
		}
		in[i] = out
		return in, nil
	}
	return nil, errNoValue
}

var unescapeToken = strings.NewReplacer("~1", "/", "~0", "~")

// tokensOf splits a JSON pointer. One of more levels than a document may have
// leads nowhere.
func tokensOf(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, errNoPointer
	}
	if strings.Count(pointer, "/") > maxDepth {
		return nil, errNoValue
	}
	tokens := strings.Split(pointer[1:], "/")
	for i, t := range tokens {
		tokens[i] = unescapeToken.Replace(t)
	}
	return tokens, nil
}

// indexOf reads an index of an array; negative ones count from size, as in
// Kubernetes.
func indexOf(token string, size, most int) (int, error) {
	if len(token) > 10 {
		return 0, errNoValue
	}
	i, err := strconv.Atoi(token)
	if err != nil {
		return 0, fmt.Errorf("%q is no index of an array", cut(token))
	}
	if i < 0 {
		i += size
	}
	if i < 0 || i > most {
		return 0, errNoValue
	}
	return i, nil
}
