package actions

import (
	"context"
	"errors"
	"sync"
	"time"
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
func (s *server) watch(ctx context.Context, o owner) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(func() {
		<-ctx.Done()
		close(s.kill)
	})
	all.Go(func() { s.accept(ctx, &all) })
	all.Go(func() {
		if s.voice.lost(ctx) {
			s.end(errHookGone)
		}
	})
	all.Go(func() {
		if gone(ctx, o) {
			s.end(errGone)
		}
	})
	return &all
}

// accept answers each call in a goroutine of its own.
func (s *server) accept(ctx context.Context, all *sync.WaitGroup) {
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
