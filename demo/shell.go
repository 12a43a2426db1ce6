package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// init is where the program ends when it is the shell of the demo's image: it never reaches main.
func init() {
	if len(os.Args) < 2 || os.Args[0] != shellPath {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	s := &shell{out: os.Stdout, variable: os.Getenv}
	code := s.runFile(ctx, os.Args[len(os.Args)-1])
	stop()
	os.Exit(code)
}

// Exit codes, as those of sh.
const (
	codeFailed   = 1
	codeSyntax   = 2
	codeNotFound = 127
)

// maxAnswer bounds what get prints, in bytes.
const maxAnswer = 64 << 10

// shell runs scripts of simple commands, a line each: words with quotes and $NAME, and > FILE at the
// end. The first command that fails ends the script, as with sh -e.
type shell struct {
	out      io.Writer
	variable func(name string) string
}

// runFile runs a script and returns its exit code.
func (s *shell) runFile(ctx context.Context, file string) int {
	script, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(s.out, "sh:", err)
		return codeNotFound
	}
	return s.run(ctx, string(script))
}

func (s *shell) run(ctx context.Context, script string) int {
	for line := range strings.Lines(script) {
		words, err := s.words(strings.TrimSpace(line))
		if err != nil {
			fmt.Fprintln(s.out, "sh:", err)
			return codeSyntax
		}
		if len(words) == 0 {
			continue
		}
		if code, ended := s.command(ctx, words); ended || code != 0 {
			return code
		}
	}
	return 0
}

// command runs one command. ended says that the script ends with it, whatever the code is.
func (s *shell) command(ctx context.Context, words []string) (code int, ended bool) {
	out := s.out
	if n := len(words); n > 2 && words[n-2] == ">" {
		file, err := os.Create(words[n-1])
		if err != nil {
			return s.failed(words[0], err), false
		}
		defer file.Close()
		out, words = file, words[:n-2]
	}
	name, args := words[0], words[1:]
	first := ""
	if len(args) > 0 {
		first = args[0]
	}
	var err error
	switch name {
	case "echo":
		_, err = fmt.Fprintln(out, strings.Join(args, " "))
	case "printf": // '%s\n' TEXT, by which stepexec shows a command
		_, err = fmt.Fprintln(out, strings.Join(args[min(1, len(args)):], " "))
	case "cat":
		err = printFile(out, first)
	case "sleep":
		err = sleep(ctx, first)
	case "get":
		err = get(ctx, out, first)
	case "serve":
		err = serve(ctx, out, first, strings.Join(args[min(1, len(args)):], " "))
	case "exit":
		code, _ = strconv.Atoi(first)
		return code, true
	default:
		fmt.Fprintf(s.out, "sh: %s: not found (the demo's image knows cat, echo, exit, get, serve and sleep)\n", name)
		return codeNotFound, false
	}
	if err != nil {
		return s.failed(name, err), false
	}
	return 0, false
}

func (s *shell) failed(name string, err error) int {
	fmt.Fprintf(s.out, "%s: %v\n", name, err)
	return codeFailed
}

// words splits a line as a shell does: at spaces outside of quotes, with variables replaced outside of
// single quotes and comments left out.
func (s *shell) words(line string) (words []string, err error) {
	var word strings.Builder
	begun := false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote && quote != 0:
			quote = 0
		case c == '$' && quote != '\'':
			name := variableName(line[i+1:])
			word.WriteString(s.variable(strings.Trim(name, "{}")))
			i += len(name)
			begun = true
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			begun = true
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			end()
		case quote == 0 && c == '#' && !begun:
			return words, nil
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	end()
	return words, nil
}

// variableName returns the variable's name with which a text behind a $ begins, and its braces if it has any.
func variableName(text string) string {
	if strings.HasPrefix(text, "{") {
		if at := strings.IndexByte(text, '}'); at >= 0 {
			return text[:at+1]
		}
		return ""
	}
	n := 0
	for n < len(text) && (text[n] == '_' || text[n] >= '0' && text[n] <= '9' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z') {
		n++
	}
	return text[:n]
}

func printFile(out io.Writer, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(out, file)
	return err
}

func sleep(ctx context.Context, seconds string) error {
	n, err := strconv.ParseFloat(seconds, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of seconds", seconds)
	}
	timer := time.NewTimer(time.Duration(n * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// get prints the answer of a web server.
func get(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	_, err = io.Copy(out, io.LimitReader(answer.Body, maxAnswer))
	return err
}

// serve answers every request on a port of loopback with a text, until it is told to end.
func serve(ctx context.Context, out io.Writer, port, text string) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, text)
	})}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	fmt.Fprintf(out, "listening on port %s\n", port)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
