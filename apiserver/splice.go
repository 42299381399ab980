package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
)

// withRevision returns a stored record's JSON with metadata.resourceVersion set
// to rev, without decoding it: lists and watches pass on many records that
// nobody needs to look into. What is not an object with an object at "metadata"
// is an error; what comes after that is not judged.
func withRevision(raw []byte, rev int64) ([]byte, error) {
	at, err := jsonscan.Find(raw, "metadata", "resourceVersion")
	if err != nil {
		return nil, fmt.Errorf("reading a stored record: %w", err)
	}
	if at.Object < 0 {
		return nil, fmt.Errorf("reading a stored record of %d bytes: it has no metadata", len(raw))
	}
	out := make([]byte, 0, len(raw)+len(`"resourceVersion":"9223372036854775807",`))
	if at.End > 0 {
		out = append(out, raw[:at.Begin]...)
		out = appendQuotedInt(out, rev)
		return append(out, raw[at.End:]...), nil
	}
	members := raw[at.Object+1:]
	out = append(out, raw[:at.Object+1]...)
	out = append(out, `"resourceVersion":`...)
	out = appendQuotedInt(out, rev)
	if bytes.TrimLeft(members, " \t\r\n")[0] != '}' {
		out = append(out, ',')
	}
	return append(out, members...), nil
}

func appendQuotedInt(b []byte, n int64) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, n, 10)
	return append(b, '"')
}

// readMember decodes into v what stands at a path of object members; v stays as
// it is if nothing does.
func readMember(raw []byte, v any, path ...string) error {
	at, err := jsonscan.Find(raw, path...)
	if err == nil && at.End > 0 {
		err = json.Unmarshal(raw[at.Begin:at.End], v)
	}
	if err != nil {
		return fmt.Errorf("reading %s of a stored record: %w", strings.Join(path, "."), err)
	}
	return nil
}
