package js

import (
	"encoding/binary"
	"errors"
)

// apply calls a JavaScript function and returns what it returned, or a thrown.
func (i *instance) apply(f handle, args ...handle) (handle, error) {
	var argv [4 * maxArguments]byte
	for n, a := range args {
		binary.LittleEndian.PutUint32(argv[4*n:], uint32(a))
	}
	if !i.module.Memory().Write(i.s.argv, argv[:4*len(args)]) {
		return 0, errBounds
	}
	r, err := i.invoke(i.call, uint64(f), uint64(i.s.undefined), uint64(len(args)), uint64(i.s.argv))
	if err != nil {
		return 0, err
	}
	return handle(r), i.check(handle(r))
}

// check returns the exception that h stands for, if it does, as a thrown.
func (i *instance) check(h handle) error {
	is, err := i.invoke(i.isException, uint64(h))
	if err != nil || is == 0 {
		return err
	}
	return i.exception()
}

// exception takes the exception that is pending.
func (i *instance) exception() error {
	e, err := i.invoke(i.module.ExportedFunction("qjs_get_exception"))
	if err != nil {
		return err
	}
	return &thrown{i.say(handle(e))}
}

// say describes an error that was thrown.
func (i *instance) say(e handle) string {
	if i.s.describe == 0 {
		text, _, _ := i.text(e, maxSaid)
		return text
	}
	i.x.describing = true
	defer func() { i.x.describing = false }()
	var argv [4]byte
	binary.LittleEndian.PutUint32(argv[:], uint32(e))
	if !i.module.Memory().Write(i.s.argv, argv[:]) {
		return ""
	}
	r, err := i.invoke(i.call, uint64(i.s.describe), uint64(i.s.undefined), 1, uint64(i.s.argv))
	if err != nil {
		return ""
	}
	if is, err := i.invoke(i.isException, r); err != nil || is != 0 {
		return ""
	}
	text, _, _ := i.text(handle(r), maxSaid)
	return text
}

// drain runs what promises have waiting, until nothing is.
func (i *instance) drain() error {
	for {
		r, err := i.invoke(i.executeJob)
		switch {
		case err != nil:
			return err
		case int32(r) < 0:
			return i.exception()
		case r == 0:
			return nil
		}
		if i.x.over() {
			return errInterrupted
		}
	}
}

// thrown is an exception that came out of the guest, in words.
type thrown struct{ text string }

func (t *thrown) Error() string { return t.text }

var errInterrupted = errors.New("interrupted")

// maxSaid bounds what is said of one error, in bytes.
const maxSaid = 4 << 10
