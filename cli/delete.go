package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

type deleteOptions struct {
	env            Env
	files          files
	labels         string
	all            bool
	ignoreNotFound bool
	wait           bool
	timeout        time.Duration
	dryRun         string
}

func deleteCommand(env Env) *cobra.Command {
	o := &deleteOptions{env: env}
	cmd := &cobra.Command{
		Use:     "delete NAME... | -f FILE | -l SELECTOR | --all",
		Aliases: []string{"rm"},
		Short:   "Deletes records; their hostnames are served no longer",
		Example: `  caddy apoxy domainrecord delete api.example.com
  caddy apoxy domainrecord delete -f api.yaml
  caddy apoxy domainrecord delete -l core.apoxy.dev/owner=acme`,
	}
	o.files.addFlags(cmd)
	cmd.Flags().StringVarP(&o.labels, "selector", "l", "", "every record whose labels match")
	cmd.Flags().BoolVar(&o.all, "all", false, "every record")
	cmd.Flags().BoolVar(&o.ignoreNotFound, "ignore-not-found", false, "a record that does not exist is no failure")
	cmd.Flags().BoolVar(&o.wait, "wait", true, "wait until finalizers are gone")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to wait; 0: without end")
	addDryRun(cmd, &o.dryRun)
	return finish(env, cmd, o.run, true)
}

func (o *deleteOptions) run(ctx context.Context, c *client, args []string) error {
	dry, err := checkDryRun(o.dryRun)
	if err != nil {
		return err
	}
	names, errs, err := o.names(ctx, c, args)
	if err != nil {
		return err
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	for _, name := range names {
		err := o.delete(ctx, c, name, dry)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%q is still held by its finalizers after %v: remove them, or give --timeout more", name, o.timeout)
		}
		if err != nil && !(o.ignoreNotFound && apierrors.IsNotFound(err)) {
			errs = append(errs, err)
		}
	}
	return join(errs)
}

// names returns what is to be deleted: one way of naming it, not two. Documents
// of a file that name no record do not keep the others: bad has them.
func (o *deleteOptions) names(ctx context.Context, c *client, args []string) (names []string, bad []error, err error) {
	ways := 0
	for _, given := range []bool{len(args) > 0, len(o.files.names) > 0, o.labels != "", o.all} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, nil, usagef("delete takes one of NAME, -f FILE, -l SELECTOR, --all")
	}
	if err := checkSelectors(o.labels, ""); err != nil {
		return nil, nil, err
	}
	if len(args) > 0 {
		names, err = parseNames(args)
		return names, nil, err
	}
	if len(o.files.names) > 0 {
		manifests, bad, err := o.files.read(o.env.Stdin)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range manifests {
			name, err := m.name()
			if err != nil {
				bad = append(bad, within(m.source, err))
				continue
			}
			names = append(names, name)
		}
		return names, bad, nil
	}
	err = c.eachRecord(ctx, listQuery{labels: o.labels, limit: 500}, func(name string) { names = append(names, name) })
	if err == nil && len(names) == 0 {
		fmt.Fprintln(o.env.Stderr, "No resources found")
	}
	return names, nil, err
}

// eachRecord visits the names of all records of a query.
func (c *client) eachRecord(ctx context.Context, q listQuery, visit func(name string)) error {
	for {
		page, err := c.list(ctx, q)
		if token, ok := resumeToken(err); ok && token != q.continueToken {
			q.continueToken = token
			continue
		}
		if err != nil {
			return err
		}
		for i := range page.Items {
			visit(page.Items[i].GetName())
		}
		if q.continueToken, err = c.nextPage(q.continueToken, page.GetContinue()); err != nil || q.continueToken == "" {
			return err
		}
	}
}

func (o *deleteOptions) delete(ctx context.Context, c *client, name string, dry bool) error {
	query := url.Values{}
	if dry {
		query.Set("dryRun", "All")
	}
	var answer json.RawMessage
	ask := func() error {
		_, err := c.read(ctx, request{method: http.MethodDelete, name: name, query: query}, &answer)
		return err
	}
	err := ask()
	if apierrors.IsNotFound(err) {
		if name, err = c.hostnameOr(ctx, name, err); err == nil {
			err = ask()
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(o.env.Stdout, "%s.%s %q deleted%s\n", v1alpha3.Singular, v1alpha3.Group, name, dryNote(dry))
	var held metav1.PartialObjectMetadata
	if dry || !o.wait || kindOf(answer) != v1alpha3.Kind || json.Unmarshal(answer, &held) != nil || len(held.Finalizers) == 0 {
		return nil
	}
	return c.waitGone(ctx, name, held.UID)
}
