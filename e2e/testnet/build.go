package testnet

import (
	"fmt"
	"os"
	"os/exec"
)

// Build compiles the package pkg of the module in dir to the file out. With
// race the program watches itself for data races.
func Build(dir, pkg, out string, race bool, flags ...string) error {
	args := append([]string{"build", "-o", out}, flags...)
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	return nil
}
