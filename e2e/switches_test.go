package e2e

import (
	"strings"
	"testing"
	"time"
)

// tlsOf is spec.tls as JSON, empty if it is not there.
func tlsOf(t *testing.T, s kubectl, host string) string {
	t.Helper()
	return s.run(t, "", words("get dr "+host+" -o jsonpath={.spec.tls}"))
}

// An object whose presence decides stays while any manager owns it, with the
// clients that people have.
func TestSwitchesOfManyManagers(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	const empty, authority, disabled = "  tls: {}", "  tls: {certificateAuthority: x}", "  tls: {disabled: true}"
	own := func(args string) func(t *testing.T, text string) {
		return func(t *testing.T, text string) {
			t.Helper()
			if _, err := p.caddy(t.Context(), text, words("apoxy domainrecord apply -f - "+args)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	by := func(args string) func(t *testing.T, text string) {
		return func(t *testing.T, text string) {
			t.Helper()
			s.run(t, text, words("apply -f - "+args))
		}
	}
	clientSide, serverSide := by(""), by("--server-side")
	one, two := by("--server-side --field-manager=one"), by("--server-side --field-manager=two")
	type step struct {
		apply func(t *testing.T, text string)
		tls   string
	}
	for _, tc := range []struct {
		host  string
		steps []step
		want  string
	}{
		{"kubectl-authority.com", []step{{serverSide, authority}, {serverSide, empty}}, "{}"},
		{"kubectl-disabled.com", []step{{serverSide, disabled}, {serverSide, empty}}, "{}"},
		{"kubectl-left-out.com", []step{{serverSide, authority}, {serverSide, empty}, {serverSide, ""}}, ""},
		{"first-leaves.com", []step{{one, authority}, {two, empty}, {one, ""}}, "{}"},
		{"second-leaves.com", []step{{one, empty}, {two, authority}, {two, ""}}, "{}"},
		{"both-leave.com", []step{{one, authority}, {two, empty}, {one, ""}, {two, ""}}, ""},
		{"forced.com", []step{{one, authority}, {by("--server-side --field-manager=two --force-conflicts"), "  tls: {certificateAuthority: other}"}, {two, ""}}, "{}"},
		{"moves-from-authority.com", []step{{clientSide, authority}, {serverSide, empty}, {serverSide, empty}}, "{}"},
		{"moves-from-disabled.com", []step{{clientSide, disabled}, {serverSide, empty}}, "{}"},
		{"moves-as-it-is.com", []step{{clientSide, empty}, {serverSide, empty}}, "{}"},
		{"moves-beside-another.com", []step{{clientSide, authority}, {one, empty}, {serverSide, ""}, {serverSide, ""}}, "{}"},
		{"moves-and-leaves.com", []step{{clientSide, authority}, {serverSide, ""}, {serverSide, ""}}, ""},
		{"moves-there-and-back.com", []step{{clientSide, disabled}, {serverSide, empty}, {clientSide, empty}, {serverSide, empty}}, "{}"},
		{"own-authority.com", []step{{own(""), authority}, {own(""), empty}}, "{}"},
		{"own-disabled.com", []step{{own(""), disabled}, {own(""), empty}}, "{}"},
		{"own-server-side.com", []step{{own("--server-side"), disabled}, {own("--server-side"), empty}}, "{}"},
		{"own-beside-kubectl.com", []step{{serverSide, authority}, {own(""), empty}, {serverSide, ""}}, "{}"},
		{"own-left-out.com", []step{{own(""), authority}, {own(""), ""}}, ""},
	} {
		t.Run(tc.host, func(t *testing.T) {
			for _, step := range tc.steps {
				step.apply(t, yamlOf(tc.host, "default", step.tls))
			}
			if got := tlsOf(t, s, tc.host); got != tc.want {
				t.Errorf("spec.tls is %q, want %q", got, tc.want)
			}
			s.run(t, yamlOf(tc.host, "default", tc.steps[len(tc.steps)-1].tls), words("diff --server-side -f -"))
			if text := s.run(t, "", words("get dr "+tc.host+" --show-managed-fields -o yaml")); strings.Contains(text, "~there") {
				t.Errorf("the record shows how it is kept: %s", text)
			}
		})
	}
}

// null where presence decides is refused with the mend, however it is written;
// what removes goes on removing.
func TestSwitchesWithoutAValue(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	const host, other = "a.nulls.com", "b.nulls.com"
	on := yamlOf(host, "default", "  tls: {}")
	s.run(t, on, words("apply -f -"), "created")

	for _, tls := range []string{"  tls:", "  tls: ~", "  tls: null"} {
		t.Run(strings.TrimSpace(tls), func(t *testing.T) {
			for _, args := range []string{"create -f -", "apply -f -", "apply --server-side -f -", "create --validate=false -f -"} {
				s.fails(t, yamlOf(other, "default", tls), words(args), "spec.tls", "tls: {}")
			}
			s.fails(t, "", words("get dr "+other), "NotFound")
			for _, args := range []string{"replace -f -", "apply -f -", "apply --server-side --force-conflicts -f -", "diff --server-side --force-conflicts -f -"} {
				s.fails(t, yamlOf(host, "default", tls), words(args), "spec.tls", "tls: {}")
			}
			// diff sends no manifest along: it shows what null would remove.
			out, err := s.try(t, yamlOf(host, "default", tls), words("diff -f -")...)
			if exitStatus(err) != 1 {
				t.Errorf("diff ends with status %d, want 1: %v", exitStatus(err), err)
			}
			contains(t, out, "-  tls: {}")
			for _, name := range []string{host, other} {
				_, err := p.caddy(t.Context(), yamlOf(name, "default", tls), words("apoxy domainrecord apply -f -")...)
				if err == nil {
					t.Errorf("our own apply takes it for %s", name)
					continue
				}
				contains(t, err.Error(), "spec.tls", "tls: {}")
			}
			if got := tlsOf(t, s, host); got != "{}" {
				t.Errorf("spec.tls is %q", got)
			}
		})
	}
	target := strings.ReplaceAll(on, "target:\n    ref: {group: gateway.apoxy.dev, kind: Gateway, name: default}", "target:")
	s.fails(t, target, words("apply -f -"), "spec.target", "ref: {kind: Gateway")
	s.fails(t, "", words("patch dr "+host+` --type=json -p [{"op":"replace","path":"/spec/tls","value":null}]`), "spec.tls")

	for what, remove := range map[string]func(){
		"client-side apply without it": func() { s.run(t, yamlOf(host, "default"), words("apply -f -"), "configured") },
		"a merge patch":                func() { s.run(t, "", words("patch dr "+host+` --type=merge -p {"spec":{"tls":null}}`), "patched") },
		"a JSON patch": func() {
			s.run(t, "", words("patch dr "+host+` --type=json -p [{"op":"remove","path":"/spec/tls"}]`), "patched")
		},
	} {
		s.run(t, on, words("apply -f -"))
		if remove(); tlsOf(t, s, host) != "" {
			t.Errorf("%s does not remove it", what)
		}
	}
}

// A manifest that says what would be so anyway is as quiet as any other.
func TestSwitchesWrittenOut(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	for host, text := range map[string]string{
		"a.explicit.com": yamlOf("a.explicit.com", "default", "  tls: {disabled: false, certificateAuthority: \"\"}", "  ttl: 0"),
		"b.explicit.com": strings.ReplaceAll(yamlOf("b.explicit.com", "default", "  tls: {disabled: true}"), "group: gateway.apoxy.dev", `group: ""`),
		"c.explicit.com": strings.ReplaceAll(yamlOf("c.explicit.com", "default", "  tls: {}"), "group: gateway.apoxy.dev, ", ""),
		"d.explicit.com": yamlOf("d.explicit.com", "default"),
	} {
		t.Run(host, func(t *testing.T) {
			s.run(t, text, words("apply -f -"), "created")
			s.run(t, text, words("apply -f -"), "unchanged")
			s.run(t, text, words("diff -f -"))
			before := s.run(t, "", words("get dr "+host+" -o jsonpath={.spec}"))
			s.run(t, text, words("apply --server-side -f -"), "serverside-applied")
			s.run(t, text, words("diff --server-side -f -"))
			if _, err := p.caddy(t.Context(), text, words("apoxy domainrecord diff -f -")...); err != nil {
				t.Errorf("our own diff: %v", err)
			}
			if after := s.run(t, "", words("get dr "+host+" -o jsonpath={.spec}")); after != before {
				t.Errorf("the spec was %s and is %s", before, after)
			}
			s.run(t, text, words("replace -f -"), "replaced")
			if got := s.run(t, "", words("get dr "+host+" -o jsonpath={.metadata.generation}")); got != "1" {
				t.Errorf("the generation is %s", got)
			}
		})
	}
	// A hostname is kept in its normal form, and that is the one to write.
	s.run(t, yamlOf("xn--bcher-kva.explicit.com", "default"), words("apply -f -"), "created")
	s.run(t, yamlOf("xn--bcher-kva.explicit.com", "default"), words("apply -f -"), "unchanged")
	s.run(t, yamlOf("xn--bcher-kva.explicit.com", "default"), words("diff -f -"))
}
