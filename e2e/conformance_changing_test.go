package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConformanceKubectlChanging(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	field := func(t *testing.T, host, path, want string) {
		t.Helper()
		if got := s.run(t, "", words("get dr "+host+" -o jsonpath={"+path+"}")); got != want {
			t.Errorf("%s of %s is %q, want %q", path, host, got, want)
		}
	}
	const host = "a.changing.com"

	t.Run("a dry run does everything but write", func(t *testing.T) {
		s.run(t, yamlOf(host, "default"), words("create --dry-run=server -o yaml -f -"), "uid:", "creationTimestamp:", "phase: Pending")
		s.run(t, yamlOf(host, "default"), words("apply --dry-run=server -f -"), "created (server dry run)")
		s.run(t, yamlOf(host, "default"), words("apply --server-side --dry-run=server -f -"), "serverside-applied (server dry run)")
		s.fails(t, "", words("get dr "+host), "NotFound")
		s.run(t, yamlOf(host, "default"), words("apply -f -"), "created")
		s.run(t, "", words("label dr "+host+" dry=run --dry-run=server"), "labeled (server dry run)")
		s.run(t, "", words("delete dr "+host+" --dry-run=server"), "deleted (server dry run)")
		s.run(t, yamlOf(host, "other"), words("replace --dry-run=server -f -"), "replaced (server dry run)")
		field(t, host, ".metadata.labels.dry}{.spec.target.ref.name", "default")
	})
	t.Run("diff tells what apply would change", func(t *testing.T) {
		for _, how := range []string{"diff -f -", "diff --server-side --field-manager=kubectl-client-side-apply --force-conflicts -f -"} {
			out, err := s.try(t, yamlOf(host, "other"), words(how)...)
			if exitStatus(err) != 1 {
				t.Errorf("%s of a change ends with status %d, want 1: %v", how, exitStatus(err), err)
			}
			contains(t, out, "-      name: default", "+      name: other")
			s.run(t, yamlOf(host, "default"), words("diff -f -"))
		}
		out, err := s.try(t, yamlOf("new.changing.com", "other"), words("diff -f -")...)
		if exitStatus(err) != 1 {
			t.Errorf("diff of a new record ends with status %d, want 1: %v", exitStatus(err), err)
		}
		contains(t, out, "+  name: new.changing.com")
	})
	t.Run("apply removes what the manifest no longer has, and keeps what others set", func(t *testing.T) {
		s.run(t, yamlOf(host, "default", "  ttl: 60"), words("apply -f -"), "configured")
		s.run(t, "", words("annotate dr "+host+" who=support"), "annotated")
		s.run(t, yamlOf(host, "default"), words("apply -f -"), "configured")
		field(t, host, ".spec.ttl}{.metadata.annotations.who", "support")
		s.run(t, yamlOf(host, "default"), words("apply -f -"), "unchanged")
	})
	t.Run("a write that changes nothing moves no revision", func(t *testing.T) {
		before := s.run(t, "", words("get dr "+host+" -o jsonpath={.metadata.resourceVersion}"))
		s.run(t, yamlOf(host, "default"), words("apply -f -"))
		s.run(t, "", words("annotate dr "+host+" who=support --overwrite"))
		s.run(t, "", words("patch dr "+host+" --type=merge -p {}"), "no change")
		field(t, host, ".metadata.resourceVersion", before)
	})
	t.Run("client-side apply moves over to server-side apply", func(t *testing.T) {
		s.run(t, yamlOf(host, "default", "  ttl: 61"), words("apply --server-side -f -"), "serverside-applied")
		s.run(t, yamlOf(host, "default"), words("apply --server-side -f -"), "serverside-applied")
		field(t, host, ".spec.ttl", "")
		managers := s.run(t, "", words("get dr "+host+" --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}"))
		if strings.Contains(managers, "client-side-apply") {
			t.Errorf("after the move the managers are still %q", managers)
		}
	})
	t.Run("two managers get in each other's way only where they meet", func(t *testing.T) {
		s.run(t, yamlOf("ssa.changing.com", "default"), words("apply --server-side --field-manager=one -f -"), "serverside-applied")
		s.run(t, yamlOf("ssa.changing.com", "default", "  ttl: 60"), words("apply --server-side --field-manager=two -f -"), "serverside-applied")
		s.fails(t, yamlOf("ssa.changing.com", "other"), words("apply --server-side --field-manager=two -f -"),
			`conflict with "one"`, ".spec.target.ref", "--force-conflicts")
		field(t, "ssa.changing.com", ".spec.target.ref.name}{.spec.ttl", "default60")
		s.run(t, yamlOf("ssa.changing.com", "other"), words("apply --server-side --field-manager=two --force-conflicts -f -"), "serverside-applied")
		field(t, "ssa.changing.com", ".spec.target.ref.name}{.spec.ttl", "other")
		s.fails(t, yamlOf("ssa.changing.com", "default"), words("apply --server-side --field-manager=one -f -"), `conflict with "two"`)
	})
	t.Run("edit", func(t *testing.T) {
		t.Setenv("KUBE_EDITOR", editor(t, "s/name: default/name: edited/"))
		s.run(t, "", words("edit dr "+host), "edited")
		field(t, host, ".spec.target.ref.name", "edited")
		t.Setenv("KUBE_EDITOR", editor(t, "s/phase: .*/phase: Detached/"))
		// What a client writes to a status is put right a moment later.
		s.run(t, "", words("edit dr "+host+" --subresource=status -o yaml"), "phase: Detached", "name: edited")
		t.Setenv("KUBE_EDITOR", "true")
		if _, err := s.try(t, "", words("edit dr "+host)...); err != nil {
			t.Errorf("leaving the editor without a change: %v", err)
		}
	})
	t.Run("patch", func(t *testing.T) {
		s.run(t, "", words("patch dr "+host+` --type=merge -p {"spec":{"ttl":70,"target":{"ref":{"name":"patched"}}}}`), "patched")
		s.run(t, "", words("patch dr "+host+` --type=json -p [{"op":"test","path":"/spec/ttl","value":70},{"op":"remove","path":"/spec/ttl"}]`), "patched")
		field(t, host, ".spec.ttl}{.spec.target.ref.name", "patched")
		s.fails(t, "", words("patch dr "+host+` --type=json -p [{"op":"test","path":"/spec/ttl","value":71}]`), "/spec/ttl")
		s.fails(t, "", words("patch dr "+host+` -p {"spec":{"ttl":70}}`), "accepted media types include", "application/merge-patch+json")
		answer := s.run(t, "", words("patch dr "+host+` --subresource=status --type=merge -o jsonpath={.status.phase}{.spec.ttl} -p {"status":{"phase":"Active"},"spec":{"ttl":99}}`), "Active")
		if strings.Contains(answer, "99") {
			t.Errorf("a patch of the status changed the spec: %q", answer)
		}
		if answer := s.run(t, "", words("patch dr "+host+` --type=merge -o jsonpath={.status.phase} -p {"status":{"phase":"Detached"}}`)); answer == "Detached" {
			t.Errorf("a patch of the record changed the status: %q", answer)
		}
		s.fails(t, "", words("patch dr "+host+` --type=merge -p {"spec":{"target":{"ref":{"kind":"Gate"}}}}`), "is invalid: spec.target.ref.kind", "Gateway")
		s.fails(t, "", words("patch dr "+host+` --type=merge -p {"metadata":{"name":"b.changing.com"}}`))
	})
	t.Run("label and annotate", func(t *testing.T) {
		s.run(t, "", words("label dr "+host+" plan=gold"), "labeled")
		s.fails(t, "", words("label dr "+host+" plan=silver"), "already has a value (gold)")
		s.run(t, "", words("label dr --all plan=silver --overwrite"), host, "ssa.changing.com")
		s.run(t, "", words("label dr "+host+" plan-"), "unlabeled")
		s.run(t, "", words("annotate dr "+host+" note=one --resource-version="+s.run(t, "", words("get dr "+host+" -o jsonpath={.metadata.resourceVersion}"))), "annotated")
		s.fails(t, "", words("annotate dr "+host+" note=two --overwrite --resource-version=1"), "Conflict", "the object has been modified")
		s.fails(t, "", words("label dr "+host+" -=x"))
		field(t, host, ".metadata.annotations.note}{.metadata.labels.plan", "one")
	})
	t.Run("replace", func(t *testing.T) {
		text := s.run(t, "", words("get dr "+host+" -o yaml"))
		s.run(t, strings.ReplaceAll(text, "name: patched", "name: replaced"), words("replace -f -"), "replaced")
		field(t, host, ".spec.target.ref.name", "replaced")
		s.fails(t, text, words("replace -f -"), "Conflict", "the object has been modified; please apply your changes to the latest version")
		s.run(t, yamlOf(host, "forced"), words("replace --force -f -"), "deleted", "replaced")
		field(t, host, ".spec.target.ref.name}{.metadata.annotations.note", "forced")
		s.fails(t, yamlOf("nobody.changing.com", "x"), words("replace -f -"), "NotFound")
	})
	t.Run("what is unknown is refused, or told", func(t *testing.T) {
		const unknown = "  colour: red"
		s.fails(t, yamlOf("c.changing.com", "x", unknown), words("create -f -"), "strict decoding error", `unknown field "spec.colour"`)
		s.run(t, yamlOf("c.changing.com", "x", unknown), words("create --validate=ignore -f -"), "created")
		s.fails(t, yamlOf("c.changing.com", "x", unknown), words("apply --server-side -f -"), "colour")
		s.fails(t, yamlOf(host, "x"), words("create -f -"), "AlreadyExists")
		s.fails(t, strings.Replace(yamlOf(host, "x"), "name: "+host, "name: twin.changing.com", 1), words("create -f -"), "AlreadyExists", "already held by domainrecord")
	})
	t.Run("several documents and directories", func(t *testing.T) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"one.yaml":  yamlOf("one.changing.com", "x") + "---\n" + yamlOf("two.changing.com", "x"),
			"list.yaml": "apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(yamlOf("three.changing.com", "x")), "\n", "\n  ") + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s.run(t, "", []string{"apply", "-f", dir}, "one.changing.com created", "two.changing.com created", "three.changing.com created")
		s.run(t, "", []string{"get", "-f", dir}, "three.changing.com")
		s.run(t, s.run(t, "", words("get dr -o yaml"), "kind: List"), words("apply --server-side --force-conflicts -f -"), "three.changing.com serverside-applied")
		s.run(t, "", []string{"delete", "-f", dir}, `"two.changing.com" deleted`)
	})
	t.Run("deletion", func(t *testing.T) {
		s.run(t, "", append(words("patch dr "+host+" --type=merge -p"), `{"metadata":{"finalizers":["example.com/hold"]}}`))
		s.run(t, "", words("delete dr "+host+" --wait=false"), "deleted")
		if got := s.run(t, "", words("get dr "+host+" -o jsonpath={.metadata.deletionTimestamp}")); got == "" {
			t.Error("a record that a finalizer holds has no deletionTimestamp")
		}
		s.fails(t, "", words("delete dr "+host+" --timeout=1s"), "timed out waiting for the condition")
		s.run(t, "", append(words("patch dr "+host+" --type=merge -p"), `{"metadata":{"finalizers":null}}`))
		s.fails(t, "", words("get dr "+host), "NotFound")
		for _, cascade := range words("background foreground orphan") {
			name := cascade + ".changing.com"
			s.run(t, yamlOf(name, "x"), words("create -f -"))
			s.run(t, "", words("delete dr "+name+" --wait --timeout=20s --cascade="+cascade), "deleted")
			s.fails(t, "", words("get dr "+name), "NotFound")
		}
		s.run(t, "", words("delete dr nobody.changing.com --ignore-not-found"))
		s.run(t, "", words("delete dr -l plan=silver"), "ssa.changing.com")
		s.run(t, "", words("delete dr --all --wait"), "c.changing.com")
		s.run(t, "", words("get dr -o name"))
		if names := p.names(t); len(names) != 0 {
			t.Errorf("there is still %v", names)
		}
	})
}
