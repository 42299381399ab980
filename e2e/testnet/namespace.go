package testnet

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv is set for the copy of the test binary that runs inside the
// namespaces; its value is the directory that holds the programs and all state.
const insideEnv = "E2E_DIR"

// Main runs a package's tests inside namespaces of their own. Called from
// TestMain, it builds the programs of the network with build (while the outside
// network, and so the module proxy, can still be reached), then starts the same
// test binary again inside and returns its exit status. Inside, it sets the
// namespaces up and runs the tests.
//
// It needs root. E2E_KEEP=1 keeps the directory with every log and zone file.
func Main(m *testing.M, build func(dir string) error) int {
	flag.Parse()
	if list := flag.Lookup("test.list"); list != nil && list.Value.String() != "" {
		return m.Run()
	}
	if os.Getenv(insideEnv) != "" {
		if err := enter(Dir()); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: setting the namespaces up:", err)
			return 1
		}
		return m.Run()
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: run these tests as root: they make a network namespace of their own and listen on ports 53, 80 and 443 in it")
		return 1
	}
	status, err := outside(build)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return status
}

// Dir is the directory of this run; programs that build made lie in its bin.
func Dir() string { return os.Getenv(insideEnv) }

// Program is the path of a program that build made.
func Program(name string) string { return filepath.Join(Dir(), "bin", name) }

func outside(build func(dir string) error) (int, error) {
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return 0, fmt.Errorf("making the directory of the run: %w", err)
	}
	if os.Getenv("E2E_KEEP") == "" {
		defer os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "e2e: keeping", dir)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		return 0, fmt.Errorf("making the directory for programs: %w", err)
	}
	if err := build(filepath.Join(dir, "bin")); err != nil {
		return 0, err
	}
	return runInside(dir)
}

// runInside starts this binary again as the first process of new namespaces.
// When it ends, for whatever reason, the kernel ends every process it started.
func runInside(dir string) (int, error) {
	// Pdeathsig is bound to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding the test binary: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if code := exit.ExitCode(); code > 0 {
			return code, nil
		}
	}
	if err != nil {
		return 0, fmt.Errorf("running the tests in a namespace: %w", err)
	}
	return 0, nil
}

// enter makes the fresh namespaces usable: mounts stay inside, /proc shows the
// processes of the namespace, lo is up, and everyone asks our resolver.
func enter(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bringing lo up: %w", err)
	}
	for file, text := range map[string]string{
		"/etc/resolv.conf": "nameserver " + ResolverAddr + "\noptions timeout:2 attempts:3\n",
		"/etc/hosts":       "127.0.0.1 localhost\n",
	} {
		ours := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(ours, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", ours, err)
		}
		if err := unix.Mount(ours, file, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting over %s: %w", file, err)
		}
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
