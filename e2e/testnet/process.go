package testnet

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a child that writes to a log of its own.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once the process has ended
}

// Spawn starts a program; its output is appended to logs/NAME.log of the run.
// env is added to the environment.
func Spawn(name string, env []string, program string, args ...string) (*Process, error) {
	dir := filepath.Join(Dir(), "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory for logs: %w", err)
	}
	p := &Process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a signal reaches its children
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the status is read from ProcessState
	}()
	return p, nil
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit status of a process that has ended, -1 if a signal
// ended it.
func (p *Process) ExitCode() int { <-p.done; return p.cmd.ProcessState.ExitCode() }

// Stop asks the process to end, and ends it if it has not within limit.
func (p *Process) Stop(limit time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("stopping %s: still running %v after SIGTERM, so it was killed", p.name, limit)
	}
}

// Kill ends the process at once and returns when it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// Interrupt sends the process, and none of its children, what Ctrl-C sends.
func (p *Process) Interrupt() error { return p.cmd.Process.Signal(os.Interrupt) }

// Survived reports whether a child of the process, or the process, still runs.
func (p *Process) Survived() bool { return syscall.Kill(-p.cmd.Process.Pid, 0) == nil }

// Silence stops the process and its children where they are.
func (p *Process) Silence() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGSTOP) }

// Speak lets a silenced process go on.
func (p *Process) Speak() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGCONT) }

// Log is what the process has written, all starts under the same name together.
func (p *Process) Log() []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

// Tail is the end of the log, whole lines of at most limit bytes.
func (p *Process) Tail(limit int) string {
	text := p.Log()
	if len(text) > limit {
		text = text[len(text)-limit:]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	return string(text)
}
