package apiserver

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// typeProtobuf is the form in which typed clients send Kubernetes' built-in
// kinds: a magic, then a message runtime.Unknown around that of the kind.
const typeProtobuf = "application/vnd.kubernetes.protobuf"

var protobufMagic = []byte("k8s\x00")

// eachField hands over every field of a message that is a text, bytes or a
// message, with its number, and passes over the others. Values are parts of data.
func eachField(data []byte, visit func(number protowire.Number, value []byte) error) error {
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("reading a field: %w", protowire.ParseError(n))
		}
		data = data[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, typ, data); n < 0 {
				return fmt.Errorf("reading field %d: %w", number, protowire.ParseError(n))
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return fmt.Errorf("reading field %d: %w", number, protowire.ParseError(n))
		}
		data = data[n:]
		if err := visit(number, value); err != nil {
			return err
		}
	}
	return nil
}

// texts reads the texts of a message into the places given by their numbers; nil
// places are passed over.
func texts(data []byte, places ...*string) error {
	return eachField(data, func(number protowire.Number, value []byte) error {
		if i := int(number) - 1; i < len(places) && places[i] != nil {
			*places[i] = string(bytes.ToValidUTF8(value, []byte("\uFFFD")))
		}
		return nil
	})
}

// reviewFromProtobuf decodes a review of a kind: of its metadata nothing, of its
// spec what is decided by.
func reviewFromProtobuf(data []byte, kind string) (*review, error) {
	rest, ok := bytes.CutPrefix(data, protobufMagic)
	if !ok {
		return nil, errors.New(`it does not begin with "k8s\x00"`)
	}
	r := new(review)
	var raw []byte
	err := eachField(rest, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			return texts(value, &r.APIVersion, &r.Kind)
		case 2:
			raw = value
		case 3:
			if len(value) > 0 {
				return fmt.Errorf("its content encoding is %.40q: send it without one", value)
			}
		}
		return nil
	})
	if err != nil || kind == kindSelf { // which has no spec, and a status in its place
		return r, err
	}
	return r, eachField(raw, func(number protowire.Number, value []byte) error {
		if number != 2 {
			return nil
		}
		if r.Spec == nil {
			r.Spec = new(reviewSpec)
		}
		if kind == kindRules {
			return texts(value, &r.Spec.Namespace)
		}
		return accessFromProtobuf(value, r.Spec)
	})
}

// accessFromProtobuf decodes the spec of an access review, without selectors,
// which change no answer.
func accessFromProtobuf(data []byte, s *reviewSpec) error {
	return eachField(data, func(number protowire.Number, value []byte) error {
		switch number {
		case 1:
			if s.ResourceAttributes == nil { // a message sent twice is merged
				s.ResourceAttributes = new(resourceAttributes)
			}
			a := s.ResourceAttributes
			return texts(value, &a.Namespace, &a.Verb, &a.Group, &a.Version, &a.Resource, &a.Subresource, &a.Name)
		case 2:
			if s.NonResourceAttributes == nil {
				s.NonResourceAttributes = new(nonResourceAttributes)
			}
			a := s.NonResourceAttributes
			return texts(value, &a.Path, &a.Verb)
		}
		return nil
	})
}
