package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// BrakeReleasePath is where a POST on the admin endpoint releases the fleet
// brake; the answer is a BrakeRelease.
const BrakeReleasePath = "/apoxy/brake/release"

// BrakeRelease is what the release of the fleet brake did.
type BrakeRelease struct {
	// Released: the brake held, and does no longer.
	Released bool `json:"released"`
	// Since is when it began to hold.
	Since time.Time `json:"since,omitzero"`
	// Gone is how many verified records had no proof left, Due how many of
	// those the brake kept from falling.
	Gone int `json:"gone"`
	Due  int `json:"due"`
}

// String is the release in one line.
func (b BrakeRelease) String() string {
	if !b.Released {
		return "the fleet brake does not hold: there is nothing to release"
	}
	return fmt.Sprintf("fleet brake released; it held since %s. %d records have no proof; %d are due and fall now, unless a look finds one",
		b.Since.UTC().Format(time.RFC3339), b.Gone, b.Due)
}

// BrakeCommand returns the command "brake" with what is below it. It prints its
// own errors, one line each on Stderr.
func BrakeCommand(env Env) *cobra.Command {
	env = env.withDefaults()
	root := &cobra.Command{
		Use:   "brake",
		Short: "Releases the fleet brake",
		Long: `The fleet brake keeps all records verified when too many would lose ownership
together: the fault is then more likely ours than theirs. It ends by itself after
fleet_brake_hold; once the operator knows that the records have really gone,
release ends it at once.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
	}
	finishGroup(env, root)
	release := &cobra.Command{
		Use:     "release",
		Short:   "Lets the records fall that the fleet brake holds",
		Example: "  caddy apoxy brake release",
	}
	finish(env, release, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 0 {
			return usagef("release takes no argument, got %s", quote(args[0]))
		}
		var b BrakeRelease
		if _, err := c.read(ctx, request{method: http.MethodPost, path: BrakeReleasePath}, &b); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, b)
		return nil
	}, true)
	release.ValidArgsFunction = cobra.NoFileCompletions
	root.AddCommand(release)
	return root
}
