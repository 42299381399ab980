package certfiles

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// marker notes that it was encoded.
type marker struct{ encoded *int }

func (m marker) MarshalLogObject(zapcore.ObjectEncoder) error { *m.encoded++; return nil }

// Fields are encoded with what is logged, in their order and once, and not before.
func TestLoggersEncodeTheirFieldsOnceTheyLog(t *testing.T) {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"})
	lines := &lines{}
	log := lazily(lazily(zap.New(zapcore.NewCore(encoder, lines, zapcore.WarnLevel))))
	var encoded int
	named := log.Named("handshake").With(zap.Object("first", marker{&encoded})).With(zap.Int("second", 2))
	named.Debug("nobody hears of it")
	if encoded != 0 || lines.text != "" {
		t.Errorf("encoded %d times for %q", encoded, lines.text)
	}
	named.Warn("one")
	named.Warn("two")
	want := `{"msg":"one","first":{},"second":2}` + "\n" + `{"msg":"two","first":{},"second":2}` + "\n"
	if encoded != 1 || lines.text != want {
		t.Errorf("encoded %d times for %q, want %q", encoded, lines.text, want)
	}
}

type lines struct{ text string }

func (l *lines) Write(b []byte) (int, error) { l.text += string(b); return len(b), nil }
func (*lines) Sync() error                   { return nil }

// What is logged through is what was logged before, fields of the call included.
func TestLoggersLogTheSame(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	lazily(zap.New(core)).With(zap.String("a", "1")).Info("x", zap.String("b", "2"))
	if all := logs.All(); len(all) != 1 || all[0].Message != "x" || all[0].ContextMap()["a"] != "1" || all[0].ContextMap()["b"] != "2" {
		t.Errorf("%v", all)
	}
	if lazily(nil) != nil {
		t.Error("no logger became one")
	}
}
