// Go's clients: `calls CLIENT PROTOCOL`, with the commands that `run` describes on standard input.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type command struct {
	verb, url string
	fields    map[string]string
	size      int
}

type result struct {
	status string
	size   int
	text   string
}

type client interface{ run(command) (result, error) }

func fields(kind, user, token string) map[string]string {
	name, realm, _ := strings.Cut(user, "@")
	switch kind {
	case "basic":
		pair := base64.StdEncoding.EncodeToString([]byte(user + ":" + token))
		return map[string]string{"authorization": "Basic " + pair}
	case "headers":
		return map[string]string{"x-auth-name": name, "x-auth-realm": realm, "x-auth-token": token}
	}
	return nil
}

func answer(status int, body []byte) result {
	start := body
	if len(start) > 200 {
		start = start[:200]
	}
	return result{strconv.Itoa(status), len(body), string(start)}
}

func tlsConfig() *tls.Config {
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(os.Getenv("CLIENTS_CA"))
	if err != nil {
		panic(err)
	}
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool}
}

// net/http, and x/net/http2 for HTTP/2 without TLS.
type web struct {
	client *http.Client
	held   *http.Response
}

func newWeb(protocol string) *web {
	if protocol == "h2c" {
		dial := func(network, address string, _ *tls.Config) (net.Conn, error) { return net.Dial(network, address) }
		return &web{client: &http.Client{Transport: &http2.Transport{AllowHTTP: true, DialTLS: dial}}}
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig(), ForceAttemptHTTP2: true}
	return &web{client: &http.Client{Transport: transport}}
}

func (w *web) start(c command) (*http.Response, error) {
	method, body := "GET", io.Reader(nil)
	if c.verb == "post" {
		method, body = "POST", bytes.NewReader(bytes.Repeat([]byte("x"), c.size))
	}
	request, err := http.NewRequest(method, c.url, body)
	if err != nil {
		return nil, err
	}
	for name, value := range c.fields {
		request.Header.Set(name, value)
	}
	return w.client.Do(request)
}

func (w *web) run(c command) (result, error) {
	if c.verb == "close" {
		return result{status: "0"}, w.held.Body.Close()
	}
	response, err := w.start(c)
	if err != nil {
		return result{}, err
	}
	if c.verb == "open" {
		w.held = response
		_, err := response.Body.Read(make([]byte, 1000))
		return answer(response.StatusCode, nil), err
	}
	defer response.Body.Close()
	if c.verb == "slow" {
		size, gap, err := timed(func() (int, error) { return response.Body.Read(make([]byte, 1000)) })
		return result{strconv.Itoa(response.StatusCode), size, gap}, err
	}
	read, err := io.ReadAll(response.Body)
	return answer(response.StatusCode, read), err
}

// Reads to the end. Returns the size, and the time between the first and the last piece in milliseconds.
func timed(next func() (int, error)) (int, string, error) {
	var first, last time.Time
	size := 0
	for {
		read, err := next()
		size += read
		if read > 0 {
			last = time.Now()
			if first.IsZero() {
				first = last
			}
		}
		if err == io.EOF {
			return size, strconv.FormatInt(last.Sub(first).Milliseconds(), 10), nil
		}
		if err != nil {
			return size, "", err
		}
	}
}

// Messages that are bytes.
type raw struct{}

func (raw) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }
func (raw) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "raw" }

type calls struct {
	protocol   string
	connection *grpc.ClientConn
	cancel     context.CancelFunc
}

func (g *calls) run(c command) (result, error) {
	if c.verb == "close" {
		g.cancel()
		return result{status: "0"}, nil
	}
	if g.connection == nil {
		target, err := url.Parse(c.url)
		if err != nil {
			return result{}, err
		}
		security := grpc.WithInsecure()
		if g.protocol == "tls" {
			security = grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig()))
		}
		g.connection, err = grpc.Dial(target.Host, security, grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
		if err != nil {
			return result{}, err
		}
	}
	found, err := g.call(c)
	if failed, is := status.FromError(err); err != nil && is {
		return result{strconv.Itoa(int(failed.Code())), 0, failed.Message()}, nil
	}
	return found, err
}

func (g *calls) call(c command) (result, error) {
	background, cancel := context.WithTimeout(context.Background(), time.Minute)
	if c.verb == "open" {
		g.cancel = cancel
	} else {
		defer cancel()
	}
	context := metadata.NewOutgoingContext(background, metadata.New(c.fields))
	argument, reply := []byte(strconv.Itoa(c.size)), []byte(nil)
	name := map[string]string{"get": "Bytes", "slow": "Slow", "open": "Flood"}[c.verb]
	switch {
	case c.verb == "post":
		stream, err := g.connection.NewStream(context, &grpc.StreamDesc{ClientStreams: true}, "/calls.Calls/Count")
		if err != nil {
			return result{}, err
		}
		piece := bytes.Repeat([]byte("x"), 50000)
		for at := 0; at < c.size; at += len(piece) {
			part := piece
			if c.size-at < len(part) {
				part = part[:c.size-at]
			}
			// An error here is EOF; the status comes with the reply.
			if stream.SendMsg(&part) != nil {
				break
			}
		}
		stream.CloseSend()
		err = stream.RecvMsg(&reply)
		return answer(0, reply), err
	case c.verb == "get" && c.size == 0:
		err := g.connection.Invoke(context, "/calls.Calls/Hello", &argument, &reply)
		return answer(0, reply), err
	}
	stream, err := g.connection.NewStream(context, &grpc.StreamDesc{ServerStreams: true}, "/calls.Calls/"+name)
	if err != nil {
		return result{}, err
	}
	if err := stream.SendMsg(&argument); err != nil && err != io.EOF {
		return result{}, err
	}
	stream.CloseSend()
	next := func() (int, error) {
		err := stream.RecvMsg(&reply)
		if err != nil {
			return 0, err
		}
		return len(reply), nil
	}
	if c.verb == "open" {
		_, err := next()
		return result{status: "0"}, err
	}
	size, gap, err := timed(next)
	return result{"0", size, gap}, err
}

func main() {
	name, protocol := os.Args[1], os.Args[2]
	var client client
	if name == "grpc-go" {
		client = &calls{protocol: protocol}
	} else {
		client = newWeb(protocol)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		size, _ := strconv.Atoi(words[5])
		found, err := client.run(command{words[0], words[1], fields(words[2], words[3], words[4]), size})
		if err != nil {
			found = result{"error", 0, err.Error()}
		}
		fmt.Printf("%s\t%d\t%s\n", found.status, found.size, strings.Join(strings.Fields(found.text), " "))
	}
}
