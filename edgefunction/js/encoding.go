package js

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

var encodings = map[string]encoding.Encoding{
	"utf-8":        unicode.UTF8,
	"utf-16le":     unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
	"utf-16be":     unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	"windows-1252": charmap.Windows1252,
}

// decode turns bytes into text as the WHATWG Encoding standard has it, and reports
// whether all of them were well formed. The name may have "+" behind it, to keep a
// byte order mark.
func decode(name string, data []byte) (text string, well bool) {
	name, keep := strings.CutSuffix(name, "+")
	if name == "utf-8" && utf8.Valid(data) {
		text, well = string(data), true
	} else {
		decoded, err := encodings[name].NewDecoder().Bytes(data)
		text = string(decoded)
		well = err == nil && name != "utf-8" && !strings.ContainsRune(text, utf8.RuneError)
	}
	if !keep {
		text = strings.TrimPrefix(text, "\ufeff")
	}
	return text, well
}

// opEncode is the bytes of a text in UTF-8.
func opEncode(i *instance, args []handle) (handle, error) {
	if len(args) != 1 {
		return 0, errBounds
	}
	s, _, err := i.text(args[0], i.x.settings.Memory)
	if err != nil {
		return 0, err
	}
	return i.giveBytes([]byte(s))
}

// opDecode is the text of bytes; null where they are not well formed and the name has
// "!" behind it.
func opDecode(i *instance, args []handle) (handle, error) {
	name, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	data, err := i.buffer(args, 1)
	if err != nil {
		return 0, err
	}
	plain := strings.Replace(name, "!", "", 1)
	if encodings[strings.TrimSuffix(plain, "+")] == nil {
		return 0, errBounds
	}
	text, well := decode(plain, data)
	if !well && plain != name {
		return i.null()
	}
	return i.giveText(text)
}

// opUnescape decodes percent-encoded text of which some is malformed, as the WHATWG
// URL standard does (percent-decode, then UTF-8 decode without BOM).
func opUnescape(i *instance, args []handle) (handle, error) {
	s, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	var out []byte
	for n := 0; n < len(s); n++ {
		if s[n] == '%' && n+2 < len(s) {
			if c, err := url.PathUnescape(s[n : n+3]); err == nil {
				out = append(out, c...)
				n += 2
				continue
			}
		}
		out = append(out, s[n])
	}
	text, _ := decode("utf-8+", out)
	return i.giveText(text)
}

// maxParts bounds a form's parts.
const maxParts = 1000

// opMultipart takes multipart/form-data apart (RFC 7578) into JSON of [name, file name
// or null, media type, where it begins, where it ends]. null: it is none.
func opMultipart(i *instance, args []handle) (handle, error) {
	contentType, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	data, err := i.buffer(args, 1)
	if err != nil {
		return 0, err
	}
	found, ok := multiparts(contentType, data)
	if !ok {
		return i.null()
	}
	text, err := json.Marshal(found)
	if err != nil {
		return 0, err
	}
	return i.giveText(string(text))
}

func multiparts(contentType string, data []byte) (found [][5]any, ok bool) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["boundary"] == "" {
		return nil, false
	}
	found = [][5]any{}
	reader := multipart.NewReader(bytes.NewReader(data), params["boundary"])
	at := 0
	for range maxParts {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return found, true
		}
		if err != nil {
			return nil, false
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, false
		}
		_, disposition, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil {
			return nil, false
		}
		// parts come in their order: this one's content stands after the last one's,
		// behind an empty line
		begin := bytes.Index(data[at:], append([]byte("\r\n\r\n"), content...))
		if begin < 0 {
			return nil, false
		}
		begin += at + 4
		at = begin + len(content)
		var file any
		if name, has := disposition["filename"]; has {
			file = name
		}
		found = append(found, [5]any{disposition["name"], file, part.Header.Get("Content-Type"), begin, at})
	}
	return nil, false
}
