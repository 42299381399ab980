package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// maxRedirects bounds how many records a redirect may lead through, and how many are
// read for it: clients give up after ten to twenty redirects.
const maxRedirects = 10

// refuseLoop refuses a record that is to be written if its redirect leads, from record
// to record, round in a circle, or through more than maxRedirects of them. Of other tenants' only
// verified ones count: what one has not proven must keep nobody from a redirect, nor be
// told of. Two writes
// at once can make a loop nevertheless, and so can the end of a record beside a
// wildcard: then clients see redirects until they give up.
func (s *Server) refuseLoop(ctx context.Context, r *v1alpha3.DomainRecord) error {
	hops, looped, err := followRedirects(r, func(hostname string) (*v1alpha3.DomainRecord, error) {
		next, err := s.answering(ctx, hostname)
		if next == nil || next.Owner() != r.Owner() && !next.Established().Verified {
			return nil, err
		}
		return next, err
	})
	if err != nil {
		return fmt.Errorf("following the redirect of record %q: %w", r.Name, err)
	}
	way := strings.Join(hops, " → ")
	why := ""
	switch {
	case looped:
		why = "leads round in a loop of records, " + way + ": lead one of them out of it, or give it another target"
	case len(hops) > maxRedirects:
		why = fmt.Sprintf("leads through more than %d records, %s …: lead it to where it ends at once", maxRedirects, way)
	default:
		return nil
	}
	at := field.NewPath("spec", "target", "redirect")
	if r.Spec.Target.Redirect.Hostname != nil {
		at = at.Child("hostname")
	}
	return invalid(r.Name, field.ErrorList{field.Invalid(at, r.RedirectText(), why)})
}

// followRedirects follows a record's redirect by what answers for the hostnames that it
// leads to. hops are the hostnames of the records that were met, r's first; looped: the
// last one repeats an earlier one. It ends where no record, or none with a redirect,
// answers, and after maxRedirects.
func followRedirects(r *v1alpha3.DomainRecord, answering func(hostname string) (*v1alpha3.DomainRecord, error)) (hops []string, looped bool, err error) {
	hops = []string{r.Spec.Name}
	for at := r; len(hops) <= maxRedirects; {
		to := at.RedirectsTo()
		if to == "" {
			return hops, false, nil
		}
		next := r // its own hostname is answered as it is to be written, not as it is stored
		if to != r.Spec.Name {
			if next, err = answering(to); err != nil {
				return nil, false, err
			}
			if next == nil && v1alpha3.IsWildcard(r.Spec.Name) && covers(r.Spec.Name, to) {
				next = r
			}
		}
		if next != nil && next.Spec.Name == r.Spec.Name {
			next = r
		}
		if next == nil || next.Spec.Target.Redirect == nil {
			return hops, false, nil
		}
		met := slices.Contains(hops, next.Spec.Name)
		hops = append(hops, next.Spec.Name)
		if met {
			return hops, true, nil
		}
		at = next
	}
	return hops, false, nil
}

// covers reports whether a wildcard answers for a hostname: that lies one label below.
func covers(wildcard, hostname string) bool {
	_, above, _ := strings.Cut(hostname, ".")
	return above == v1alpha3.BaseName(wildcard)
}

// answering is the record that answers for a hostname once it is verified: its own, or
// else that of the wildcard one label above; nil if there is none. One that is damaged
// counts as none.
func (s *Server) answering(ctx context.Context, hostname string) (*v1alpha3.DomainRecord, error) {
	names := []string{hostname}
	if _, above, ok := strings.Cut(hostname, "."); ok && !v1alpha3.IsWildcard(hostname) {
		names = append(names, "*."+above)
	}
	for _, name := range names {
		in, err := s.occupant(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
		case err != nil:
			return nil, err
		default:
			return in.record, nil
		}
	}
	return nil, nil
}
