package main

import (
	"errors"
	"strconv"
	"time"
)

// timeFlag is a duration as in pipeline files: 90s, 10m or 1h30m; a bare number is in seconds.
type timeFlag time.Duration

// String returns "" for 0, so that help shows no default.
func (f *timeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *timeFlag) Set(text string) error {
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		*f = timeFlag(time.Duration(seconds) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("write it like 90s, 10m or 1h30m; a bare number is seconds")
	}
	*f = timeFlag(d)
	return nil
}

// Type returns the name of the type in messages.
func (f *timeFlag) Type() string { return "duration" }
