package actions

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// Why a job ends before its runner has cleaned up.
var (
	errEnded    = errors.New("the runner has ended the job")
	errHookGone = errors.New("the hook that started the job has been killed")
	errTempGone = errors.New("the runner's temporary folder is gone, and the runner with it")
)

// tempLook is the time between two looks at the runner's temporary folder.
const tempLook = time.Second

// watch takes calls, and ends the job when the hook dies before the job is ready, or when the
// folder temp, unless it is "", is gone. When ctx ends, what runs is killed. All that was
// started ends with ctx and the listener; the caller waits for it.
func (s *server) watch(ctx context.Context, temp string) *sync.WaitGroup {
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
	if temp != "" {
		all.Go(func() {
			if gone(ctx, temp) {
				s.end(errTempGone)
			}
		})
	}
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

// gone waits until a folder is gone at two looks, or ctx ends: a runner may be making it anew.
func gone(ctx context.Context, folder string) bool {
	ticker := time.NewTicker(tempLook)
	defer ticker.Stop()
	missing := 0
	for missing < 2 {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		missing++
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			missing = 0
		}
	}
	return true
}
