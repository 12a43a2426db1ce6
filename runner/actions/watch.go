package actions

import (
	"context"
	"errors"
	"time"

	"github.com/stepexec/stepexec/crash"
	"github.com/stepexec/stepexec/runner"
)

// Why a job ends before its runner has cleaned up.
var (
	errEnded    = errors.New("the runner has ended the job")
	errHookGone = errors.New("the hook that started the job has been killed")
	errGone     = errors.New("the runner is gone: its process has ended, or its temporary folder is not there")
)

// ownerLook is the time between two looks at the job's runner.
const ownerLook = time.Second

// watch takes calls, and ends the job when the hook dies before the job is ready, or when the
// job's runner is gone. When ctx ends, what runs is killed. All that was started ends with ctx and
// the listener; the caller waits for it.
func (s *server) watch(ctx context.Context, o owner) *crash.Group {
	all := &crash.Group{}
	all.Go(func() {
		<-ctx.Done()
		close(s.kill)
	})
	s.beside(all, func() { s.accept(ctx, all) })
	s.beside(all, func() {
		if s.voice.lost(ctx) {
			s.end(errHookGone)
		}
	})
	s.beside(all, func() {
		if gone(ctx, o) {
			s.end(errGone)
		}
	})
	return all
}

// beside starts a watcher of the job. A panic there ends the job, which nobody could end otherwise.
func (s *server) beside(all *crash.Group, watcher func()) {
	all.Go(func() {
		err := runner.Protect(s.voice.Say, "the watch over the job", func() error { watcher(); return nil })
		if err != nil {
			s.end(err)
			all.Note(err)
		}
	})
}

// accept answers each call in a goroutine of its own. A panic there fails that call alone.
func (s *server) accept(ctx context.Context, all *crash.Group) {
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			s.end(err) // nobody could end the job any more, or it is over
			return
		}
		all.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.CloseRead() })() // a call that is never made
			s.answer(ctx, conn)
		})
	}
}

// gone waits until a runner is gone at two looks, or ctx ends: it may be making its folder anew.
func gone(ctx context.Context, o owner) bool {
	ticker := time.NewTicker(ownerLook)
	defer ticker.Stop()
	missing := 0
	for missing < 2 {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		missing++
		if !o.isGone() {
			missing = 0
		}
	}
	return true
}
