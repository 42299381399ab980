package cli

import (
	"context"
	"fmt"
	"net/url"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// exitTrouble is diff's exit status where it could not compare: 1 says that
// there are differences, as with diff(1).
const exitTrouble = 2

type diffOptions struct {
	env     Env
	files   files
	manager string
}

func diffCommand(env Env) *cobra.Command {
	o := &diffOptions{env: env}
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIRECTORY|-",
		Short: "Shows what apply would change, as the server would do it",
		Long: `Shows what apply would change, as the server would do it: defaults and
validation included.

Exit status: 0 no differences, 1 differences, 2 failed or wrong usage.`,
		Example: `  caddy apoxy domainrecord diff -f records/`,
	}
	o.files.addFlags(cmd)
	cmd.Flags().StringVar(&o.manager, "field-manager", fieldManager, "whose the fields would be")
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		different, err := o.run(ctx, c, args)
		switch {
		case err != nil:
			return statusError{exitTrouble, err}
		case different:
			return statusError{code: ExitFailed}
		}
		return nil
	}, true)
}

func (o *diffOptions) run(ctx context.Context, c *client, args []string) (different bool, err error) {
	if len(args) > 0 || len(o.files.names) == 0 {
		return false, usagef("diff takes -f FILE, a directory, or - for standard input, and no names")
	}
	manifests, errs, err := o.files.read(o.env.Stdin)
	if err != nil {
		return false, err
	}
	for _, m := range manifests {
		out, err := o.diff(ctx, c, m)
		if err != nil {
			errs = append(errs, within(m.source, err))
			continue
		}
		different = different || len(out) > 0
		if _, err := o.env.Stdout.Write([]byte(printable(out))); err != nil {
			return false, fmt.Errorf("printing: %w", err)
		}
	}
	return different, join(errs)
}

// diff compares a record as it is with what apply would make of it.
func (o *diffOptions) diff(ctx context.Context, c *client, m manifest) ([]byte, error) {
	name, err := m.name()
	if err != nil {
		return nil, err
	}
	m.SetName(name)
	m.SetManagedFields(nil)
	live, err := c.meant(ctx, m)
	if err != nil {
		return nil, err
	}
	name = m.GetName()
	body, err := m.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	query := url.Values{"fieldManager": {o.manager}, "fieldValidation": {"Strict"}, "dryRun": {"All"}, "force": {"true"}}
	merged, _, err := c.patch(ctx, name, typeApplyPatch, body, query)
	if err != nil {
		return nil, err
	}
	if live == nil { // the server makes these up anew each time
		unstructured.RemoveNestedField(merged.Object, "metadata", "uid")
		unstructured.RemoveNestedField(merged.Object, "metadata", "creationTimestamp")
	}
	from, err := comparison(live)
	if err != nil {
		return nil, err
	}
	to, err := comparison(merged)
	if err != nil {
		return nil, err
	}
	return diff.Diff("live/"+name, from, "merged/"+name, to), nil
}

// comparison is a record as YAML without what changes with every write.
func comparison(u *unstructured.Unstructured) ([]byte, error) {
	if u == nil {
		return nil, nil
	}
	u.SetManagedFields(nil)
	u.SetResourceVersion("")
	raw, err := yaml.Marshal(u.Object)
	if err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	return raw, nil
}

func printable(raw []byte) string { return harmless(string(raw)) }
