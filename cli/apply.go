package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

type applyOptions struct {
	env        Env
	files      files
	out        output
	serverSide bool
	force      bool
	manager    string
	dryRun     string
}

func applyCommand(env Env) *cobra.Command {
	o := &applyOptions{env: env}
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIRECTORY|-",
		Short: "Creates records, or brings them to what a file says",
		Long: `Creates records, or brings them to what a file says, by server-side apply: the
fields that the file names, and no others, become those of the field manager
caddy-apoxy. The file wins over what others have set; with --server-side a field
of another manager is a conflict instead, as with kubectl, and
--force-conflicts takes it over.

What is given back in the file of "get -o yaml" is understood.`,
		Example: `  caddy apoxy domainrecord apply -f api.yaml
  caddy apoxy domainrecord apply -f records/ --dry-run=server
  caddy apoxy domainrecord apply --server-side --field-manager=billing -f -`,
	}
	o.files.addFlags(cmd)
	o.out.addFlags(cmd)
	cmd.Flags().BoolVar(&o.serverSide, "server-side", false, "a field that another manager has set is a conflict")
	cmd.Flags().BoolVar(&o.force, "force-conflicts", false, "with --server-side: take such fields over")
	cmd.Flags().StringVar(&o.manager, "field-manager", fieldManager, "whose the fields are to be")
	addDryRun(cmd, &o.dryRun)
	return finish(env, cmd, o.run, true)
}

func (f *files) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.names, "filename", "f", nil, "file or directory of manifests, - for standard input; repeatable")
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "R", false, "take a directory's subdirectories too")
}

// addDryRun adds --dry-run as kubectl has it; client is left out, because
// nothing but the server knows whether a record would be taken.
func addDryRun(cmd *cobra.Command, value *string) {
	cmd.Flags().StringVar(value, "dry-run", "none", "none or server: the server does everything but keep the result")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = "server"
}

func checkDryRun(value string) (dry bool, err error) {
	switch value {
	case "none", "":
		return false, nil
	case "server":
		return true, nil
	}
	return false, usagef("--dry-run=%s is neither none nor server", value)
}

func (o *applyOptions) run(ctx context.Context, c *client, args []string) error {
	if len(args) > 0 {
		return usagef("apply takes no names, found %s: name files with -f", quote(args[0]))
	}
	if len(o.files.names) == 0 {
		return usagef("apply takes -f FILE, a directory, or - for standard input")
	}
	if o.force && !o.serverSide {
		return usagef("--force-conflicts goes with --server-side: without it the file always wins")
	}
	dry, err := checkDryRun(o.dryRun)
	if err != nil {
		return err
	}
	var p printers.ResourcePrinter
	if o.out.format != "" {
		if p, err = o.out.printer(); err != nil {
			return err
		}
	}
	each, err := o.files.each(o.env.Stdin)
	if err != nil {
		return err
	}
	manifests, errs, rest := take(each, bulkFrom)
	defer rest.stop()
	if rest.more && p == nil {
		if done, err := o.applyBulk(ctx, c, manifests, errs, rest, dry); done {
			return err
		}
	}
	if len(manifests)+len(errs) == 0 {
		return o.files.errNone()
	}
	for m, err := range rest.after(manifests) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		u, what, err := o.apply(ctx, c, m, dry)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			errs = append(errs, within(m.source, err))
			continue
		}
		if err := o.report(ctx, c, u, what, dry, p); err != nil {
			return err
		}
	}
	return join(errs)
}

// within says which manifest an error is about.
func within(source string, err error) error {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return fmt.Errorf("%s: %s", source, explainStatus(status.ErrStatus))
	}
	return fmt.Errorf("%s: %w", source, err)
}

// outcome is what apply did.
type outcome string

const (
	created    outcome = "created"
	configured outcome = "configured"
	unchanged  outcome = "unchanged"
	applied    outcome = "serverside-applied"
)

func (o *applyOptions) apply(ctx context.Context, c *client, m manifest, dry bool) (*unstructured.Unstructured, outcome, error) {
	m.SetManagedFields(nil)
	query := url.Values{"fieldManager": {o.manager}, "fieldValidation": {"Strict"}}
	if dry {
		query.Set("dryRun", "All")
	}
	name, err := m.name()
	if err != nil { // the server has the words for what is wrong with it
		u, err := create(ctx, c, m, query)
		return u, created, err
	}
	m.SetName(name)
	before, err := c.meant(ctx, m)
	if err != nil {
		return nil, "", err
	}
	exists := before != nil
	name = m.GetName()
	body, err := m.MarshalJSON()
	if err != nil {
		return nil, "", fmt.Errorf("writing the record: %w", err)
	}
	applyQuery := url.Values{"force": {strconv.FormatBool(!o.serverSide || o.force)}}
	for k, v := range query {
		applyQuery[k] = v
	}
	u, status, err := c.patch(ctx, name, typeApplyPatch, body, applyQuery)
	if apierrors.IsUnsupportedMediaType(err) {
		if u, err = o.patchOrCreate(ctx, c, m, exists, body, query); exists {
			status = http.StatusOK
		} else {
			status = http.StatusCreated
		}
	}
	switch {
	case err != nil:
		return nil, "", err
	case o.serverSide:
		return u, applied, nil
	case status == http.StatusCreated:
		return u, created, nil
	case exists && before.GetResourceVersion() == u.GetResourceVersion() && !dry:
		return u, unchanged, nil
	}
	return u, configured, nil
}

// patchOrCreate is for servers that know no server-side apply.
func (o *applyOptions) patchOrCreate(ctx context.Context, c *client, m manifest, exists bool, body []byte, query url.Values) (*unstructured.Unstructured, error) {
	if !exists {
		return create(ctx, c, m, query)
	}
	u, _, err := c.patch(ctx, m.GetName(), typeMergePatch, body, query)
	return u, err
}

func create(ctx context.Context, c *client, m manifest, query url.Values) (*unstructured.Unstructured, error) {
	body, err := m.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	u, _, err := c.object(ctx, request{method: http.MethodPost, query: query, contentType: typeJSON, body: body})
	return u, err
}

// report prints what was done, and to a person also what the customer is to do.
func (o *applyOptions) report(ctx context.Context, c *client, u *unstructured.Unstructured, what outcome, dry bool, p printers.ResourcePrinter) error {
	if p != nil {
		if err := p.PrintObj(u, o.env.Stdout); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		return nil
	}
	fmt.Fprintf(o.env.Stdout, "%s %s%s\n", told(u.GetName()), what, dryNote(dry))
	if what == created && !dry && o.env.Terminal() {
		r, err := c.waitForDNSRecords(ctx, u, 3*time.Second)
		if err != nil {
			return err
		}
		o.tellCustomer(r)
	}
	return nil
}

func (o *applyOptions) tellCustomer(r *v1alpha3.DomainRecord) {
	if len(r.Status.DNSRecords) == 0 {
		return
	}
	fmt.Fprintf(o.env.Stdout, "\nThe customer creates at the DNS provider of %s:\n\n", r.Spec.Name)
	printWanted(o.env.Stdout, r.Status.DNSRecords, "  ", true)
	fmt.Fprintln(o.env.Stdout)
}

func dryNote(dry bool) string {
	if dry {
		return " (server dry run)"
	}
	return ""
}

// waitForDNSRecords returns the record once its status says what the customer
// is to create, or as it is when the time is over.
func (c *client) waitForDNSRecords(ctx context.Context, u *unstructured.Unstructured, most time.Duration) (*v1alpha3.DomainRecord, error) {
	r, err := toRecord(u)
	if err != nil || len(r.Status.DNSRecords) > 0 {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err = c.followRecord(ctx, u.GetName(), func(now *v1alpha3.DomainRecord) (bool, error) {
		if now == nil {
			return true, nil
		}
		r = now
		return len(r.Status.DNSRecords) > 0, nil
	})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return r, nil
}
