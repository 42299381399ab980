package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// pairsOptions is what label and annotate share.
type pairsOptions struct {
	env       Env
	field     string // labels or annotations
	one, done string // "label", "labeled"
	labels    string
	all       bool
	overwrite bool
	list      bool
	dryRun    string
}

func labelCommand(env Env) *cobra.Command {
	return pairsCommand(env, &pairsOptions{env: env, field: "labels", one: "label", done: "labeled"},
		"  caddy apoxy domainrecord label api.example.com core.apoxy.dev/owner=acme\n  caddy apoxy domainrecord label api.example.com tier-")
}

func annotateCommand(env Env) *cobra.Command {
	return pairsCommand(env, &pairsOptions{env: env, field: "annotations", one: "annotation", done: "annotated"},
		"  caddy apoxy domainrecord annotate api.example.com example.com/ticket=4711")
}

func pairsCommand(env Env, o *pairsOptions, example string) *cobra.Command {
	verb := map[string]string{"label": "label", "annotation": "annotate"}[o.one]
	cmd := &cobra.Command{
		Use:     verb + " NAME... KEY=VALUE... KEY-...",
		Short:   fmt.Sprintf("Sets the %s of records; KEY- removes one", o.field),
		Example: example,
	}
	cmd.Flags().StringVarP(&o.labels, "selector", "l", "", "every record whose labels match")
	cmd.Flags().BoolVar(&o.all, "all", false, "every record")
	cmd.Flags().BoolVar(&o.overwrite, "overwrite", false, "replace a value that is there")
	cmd.Flags().BoolVar(&o.list, "list", false, "show the "+o.field)
	addDryRun(cmd, &o.dryRun)
	return finish(env, cmd, o.run, true)
}

func (o *pairsOptions) run(ctx context.Context, c *client, args []string) error {
	dry, err := checkDryRun(o.dryRun)
	if err != nil {
		return err
	}
	names, set, err := o.parse(args)
	if err != nil {
		return err
	}
	if len(set) == 0 && !o.list {
		return usagef("give the %s to set as KEY=VALUE, or to remove as KEY-", o.field)
	}
	if names, err = selectNames(ctx, c, names, o.labels, o.all); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := o.change(ctx, c, name, set, dry); err != nil {
			errs = append(errs, err)
		}
	}
	return join(errs)
}

// parse divides arguments into names and pairs; a nil value removes the key.
func (o *pairsOptions) parse(args []string) (names []string, set map[string]any, err error) {
	set = map[string]any{}
	for _, arg := range args {
		key, value, isPair := strings.Cut(arg, "=")
		gone, isRemoval := strings.CutSuffix(arg, "-")
		switch {
		case isPair:
			err = o.put(set, key, value)
		case isRemoval:
			err = o.put(set, gone, nil)
		case len(set) > 0:
			err = usagef("%s stands behind the %s: give names first, then KEY=VALUE or KEY-", quote(arg), o.field)
		default:
			names = append(names, arg)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return names, set, nil
}

func (o *pairsOptions) put(set map[string]any, key string, value any) error {
	if key == "" {
		return usagef("a %s has no key: give KEY=VALUE or KEY-", o.one)
	}
	if _, twice := set[key]; twice {
		return usagef("the %s %s is given twice", o.one, quote(key))
	}
	set[key] = value
	return nil
}

func (o *pairsOptions) change(ctx context.Context, c *client, name string, set map[string]any, dry bool) error {
	u, err := c.get(ctx, name)
	if err != nil {
		return err
	}
	have, _, _ := unstructured.NestedStringMap(u.Object, "metadata", o.field)
	if o.list {
		fmt.Fprintf(o.env.Stdout, "%s\n", told(u.GetName()))
		for _, k := range slices.Sorted(maps.Keys(have)) {
			fmt.Fprintf(o.env.Stdout, "  %s=%s\n", k, have[k])
		}
	}
	if len(set) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if old, ok := have[key]; ok && set[key] != nil && set[key] != old && !o.overwrite {
			return fmt.Errorf("%s has the %s %s with the value %s: --overwrite replaces it", u.GetName(), o.one, quote(key), quote(old))
		}
	}
	meta := map[string]any{o.field: set}
	if !o.overwrite { // what was judged must still be so
		meta["resourceVersion"] = u.GetResourceVersion()
	}
	body, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return fmt.Errorf("writing the patch: %w", err)
	}
	query := url.Values{"fieldManager": {fieldManager}}
	if dry {
		query.Set("dryRun", "All")
	}
	after, _, err := c.patch(ctx, u.GetName(), typeMergePatch, body, query)
	if err != nil {
		return err
	}
	now, _, _ := unstructured.NestedStringMap(after.Object, "metadata", o.field)
	what := o.done
	if maps.Equal(have, now) {
		what = "not " + o.done
	}
	fmt.Fprintf(o.env.Stdout, "%s %s%s\n", told(u.GetName()), what, dryNote(dry))
	return nil
}
