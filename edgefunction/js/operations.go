package js

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// operation is a function of the host that the prelude calls. Its arguments are
// strings and ArrayBuffers, as the prelude makes them; a function that gets at it in
// another way breaks itself alone. An error ends the guest.
type operation func(i *instance, args []handle) (handle, error)

// operations by the names that the prelude knows them by.
var operations = map[string]operation{
	"log":          opLog,
	"respond":      func(i *instance, args []handle) (handle, error) { return i.respond(args, i.bodyText) },
	"respondBytes": func(i *instance, args []handle) (handle, error) { return i.respond(args, i.bytes) },
	"pass":         opPass,
	"fail":         opFail,
	"done":         func(i *instance, _ []handle) (handle, error) { i.x.settled = true; return i.undefined() },
	"bodyText":     opBodyText,
	"bodyBytes":    opBodyBytes,
	"random":       opRandom,
	"digest":       opDigest,
	"hmac":         opHMAC,
	"equal":        opEqual,
	"encode":       opEncode,
	"decode":       opDecode,
	"unescape":     opUnescape,
	"url":          opURL,
	"urlSet":       opURLSet,
	"multipart":    opMultipart,
	"fetch":        opFetch,
	"abandon":      opAbandon,
}

func (i *instance) undefined() (handle, error) { return i.copyOf(i.s.undefined) }

func (i *instance) null() (handle, error) { return i.copyOf(i.s.null) }

func (i *instance) copyOf(h handle) (handle, error) {
	r, err := i.invoke(i.dup, uint64(h))
	return handle(r), err
}

func (i *instance) giveText(s string) (handle, error) { return i.value(i.newString, []byte(s)) }

func (i *instance) giveBytes(data []byte) (handle, error) { return i.value(i.newBuffer, data) }

// argument returns the n-th argument as a string of at most maxArgument bytes.
func (i *instance) argument(args []handle, n int) (string, error) {
	if n >= len(args) {
		return "", errBounds
	}
	s, size, err := i.text(args[n], maxArgument)
	if err == nil && size > maxArgument {
		err = edgefunction.Faultf(edgefunction.FaultCrash, "a text of %d bytes was given to a function that takes at most %d", size, int64(maxArgument))
	}
	return s, err
}

// buffer returns the n-th argument's bytes, at most as many as an instance may hold.
func (i *instance) buffer(args []handle, n int) ([]byte, error) {
	if n >= len(args) {
		return nil, errBounds
	}
	data, _, err := i.bytes(args[n], i.x.settings.Memory)
	return data, err
}

// maxArgument bounds texts such as URLs and heads, in bytes.
const maxArgument = 4 << 20

func opLog(i *instance, args []handle) (handle, error) {
	if len(args) != 2 {
		return 0, errBounds
	}
	level, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	text, _, err := i.text(args[1], maxPrinted)
	if err != nil {
		return 0, err
	}
	i.x.print(level, text)
	return i.undefined()
}

// maxPrinted bounds one line that a function prints, in bytes.
const maxPrinted = 16 << 10

func (i *instance) bodyText(h handle, limit int64) ([]byte, int64, error) {
	s, n, err := i.text(h, limit)
	return []byte(s), n, err
}

// respond takes the answer: its head and its body, which body reads.
func (i *instance) respond(args []handle, body func(handle, int64) ([]byte, int64, error)) (handle, error) {
	if len(args) != 2 || i.x.answer.kind != pending || i.x.r == nil {
		return 0, errBounds
	}
	limits := i.x.settings.Limits
	head, size, err := i.text(args[0], 2*limits.Headers+maxArgument)
	if err != nil {
		return 0, err
	}
	if size > int64(len(head)) {
		return 0, faultAnswer(fmt.Errorf("the header fields have more than %d bytes", limits.Headers))
	}
	data, n, err := body(args[1], limits.ResponseBody)
	switch {
	case err != nil:
		return 0, err
	case n > limits.ResponseBody:
		return 0, faultAnswer(fmt.Errorf("the body has %d bytes: at most %d are sent", n, limits.ResponseBody))
	}
	if err := i.x.answer.read(head, limits.Headers); err != nil {
		return 0, faultAnswer(err)
	}
	i.x.answer.body = data
	return i.undefined()
}

// opPass hands the request on.
func opPass(i *instance, args []handle) (handle, error) {
	if i.x.answer.kind != pending || i.x.r == nil {
		return 0, errBounds
	}
	head, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	limit := i.x.settings.Headers + sizeOf(i.x.r.Header) // what came may go on
	if err := i.x.answer.readPass(head, limit); err != nil {
		return 0, faultAnswer(err)
	}
	if c := i.x.answer.changed; c != nil && c.own && len(args) > 1 {
		data, n, err := i.bytes(args[1], i.x.settings.ResponseBody)
		if err != nil {
			return 0, err
		}
		if n > i.x.settings.ResponseBody {
			return 0, faultAnswer(fmt.Errorf("the body that is handed on has %d bytes: at most %d are sent", n, i.x.settings.ResponseBody))
		}
		c.body = data
	}
	return i.undefined()
}

func sizeOf(header http.Header) (size int64) {
	for name, values := range header {
		for _, v := range values {
			size += int64(len(name) + len(v))
		}
	}
	return size
}

// opFail ends the request: the function threw.
func opFail(i *instance, args []handle) (handle, error) {
	if len(args) != 1 {
		return 0, errBounds
	}
	text, _, err := i.text(args[0], maxSaid)
	if err != nil {
		return 0, err
	}
	return 0, &thrown{text}
}

func opBodyText(i *instance, _ []handle) (handle, error) {
	data, err := i.x.whole()
	if errors.Is(err, errBodyClosed) {
		return i.null()
	}
	if err != nil {
		return 0, err
	}
	text, _ := decode("utf-8", data)
	return i.giveText(text)
}

func opBodyBytes(i *instance, _ []handle) (handle, error) {
	data, err := i.x.whole()
	if errors.Is(err, errBodyClosed) {
		return i.null()
	}
	if err != nil {
		return 0, err
	}
	return i.giveBytes(data)
}

// opAbandon ends a call of fetch.
func opAbandon(i *instance, args []handle) (handle, error) {
	id, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	if cancel := i.x.running[id]; cancel != nil {
		cancel()
	}
	return i.undefined()
}

func opFetch(i *instance, args []handle) (handle, error) {
	head, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	var data []byte
	if len(args) > 1 {
		if data, err = i.buffer(args, 1); err != nil {
			return 0, err
		}
	}
	i.x.fetch(head, data)
	return i.undefined()
}

func (i *instance) number(args []handle, n, most int) (int, error) {
	s, err := i.argument(args, n)
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 || v > most {
		return 0, errBounds
	}
	return v, nil
}
