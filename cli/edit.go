package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const editHead = `# Edit the record and save it. Lines that begin with # are ignored, and an empty
# file leaves the record as it is. What the server refuses comes back here.
`

func editCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Opens a record in an editor and saves what was changed",
		Long: `Opens a record in the editor that $KUBE_EDITOR, $VISUAL or $EDITOR names, else vi,
and sends what was changed. What the server refuses comes back with the reason.`,
		Example: `  EDITOR=nano caddy apoxy domainrecord edit api.example.com`,
	}
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		name, err := oneName("edit", args)
		if err != nil {
			return err
		}
		e := &editing{env: env, c: c}
		return e.run(ctx, name)
	}, true)
}

// editing is one record under an editor.
type editing struct {
	env  Env
	c    *client
	path string
}

func (e *editing) run(ctx context.Context, name string) error {
	u, err := e.c.get(ctx, name)
	if err != nil {
		return err
	}
	u.SetManagedFields(nil)
	text, err := yaml.Marshal(u.Object)
	if err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	f, err := os.CreateTemp("", "domainrecord-*.yaml")
	if err != nil {
		return fmt.Errorf("opening a file to edit: %w", err)
	}
	f.Close()
	e.path = f.Name()
	keep := false
	defer func() {
		if !keep {
			os.Remove(e.path)
		}
	}()
	offered := append([]byte(editHead), text...)
	var refused error
	for {
		saved, err := e.edit(ctx, offered)
		if err != nil {
			return err
		}
		if refused != nil && bytes.Equal(withoutComments(saved), withoutComments(offered)) {
			keep = true
			return fmt.Errorf("%s; the edit is kept in %s", explain(refused), e.path)
		}
		done, err := e.save(ctx, u, saved)
		if err == nil || !mendable(err) {
			keep = err != nil
			if keep {
				return fmt.Errorf("%s; the edit is kept in %s", explain(err), e.path)
			}
			fmt.Fprintln(e.env.Stdout, done)
			return nil
		}
		refused = err
		offered = withReason(saved, err)
	}
}

// edit lets the user edit text and returns what was saved.
func (e *editing) edit(ctx context.Context, text []byte) ([]byte, error) {
	if err := os.WriteFile(e.path, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing the file to edit: %w", err)
	}
	editor := e.editor()
	var cmd *exec.Cmd
	if runtime.GOOS == "windows" {
		words := append(strings.Fields(editor), e.path)
		cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	} else { // an editor may come with arguments and quotes
		cmd = exec.CommandContext(ctx, "/bin/sh", "-c", editor+` "$1"`, "sh", e.path)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.env.Stdin, e.env.Stdout, e.env.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running the editor %s: %w; $EDITOR names another", quote(editor), err)
	}
	saved, err := os.ReadFile(e.path)
	if err != nil {
		return nil, fmt.Errorf("reading the edited file: %w", err)
	}
	return saved, nil
}

func (e *editing) editor() string {
	for _, name := range []string{"KUBE_EDITOR", "VISUAL", "EDITOR"} {
		if v := strings.TrimSpace(e.env.Getenv(name)); v != "" {
			return v
		}
	}
	if runtime.GOOS == "windows" {
		return "notepad"
	}
	return "vi"
}

// errEdit is a fault of the text, which the user can mend at once.
var errEdit = errors.New("reading the edited record")

func mendable(err error) bool {
	return errors.Is(err, errEdit) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// save sends what was changed and says what came of it.
func (e *editing) save(ctx context.Context, before *unstructured.Unstructured, text []byte) (string, error) {
	if len(bytes.TrimSpace(withoutComments(text))) == 0 {
		return "Edit cancelled, saved file was empty.", nil
	}
	after, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errEdit, err)
	}
	// As a merge patch, null would remove what nobody said to remove.
	if errs := v1alpha3.NullSwitches(after); len(errs) > 0 {
		return "", fmt.Errorf("%w: %w", errEdit, errs.ToAggregate())
	}
	old, err := before.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("writing the record: %w", err)
	}
	patch, err := jsonpatch.CreateMergePatch(old, after)
	if err != nil {
		return "", fmt.Errorf("%w: expected one DomainRecord: %w", errEdit, err)
	}
	if string(patch) == "{}" {
		return "Edit cancelled, no changes made.", nil
	}
	// The change counts only against the record that was edited.
	lock := fmt.Sprintf(`{"metadata":{"resourceVersion":%q}}`, before.GetResourceVersion())
	if patch, err = jsonpatch.MergeMergePatches([]byte(lock), patch); err != nil {
		return "", fmt.Errorf("%w: %w", errEdit, err)
	}
	query := url.Values{"fieldManager": {fieldManager}, "fieldValidation": {"Strict"}}
	if _, _, err := e.c.patch(ctx, before.GetName(), typeMergePatch, patch, query); err != nil {
		return "", err
	}
	return told(before.GetName()) + " edited", nil
}

// withoutComments drops whole-line comments. Inside a block scalar no line
// begins at the margin.
func withoutComments(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("#")) {
			out = append(out, line...)
		}
	}
	return out
}

// withReason puts the reason of a refusal above the text.
func withReason(text []byte, err error) []byte {
	var b bytes.Buffer
	b.WriteString(editHead + "#\n")
	for _, line := range wrap(explain(err), lineWidth-2) {
		b.WriteString("# " + line + "\n")
	}
	b.WriteString("#\n")
	b.Write(withoutComments(text))
	return b.Bytes()
}
