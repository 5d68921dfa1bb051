# Reports the request that Rack sees.

require "json"

run lambda { |env|
  request = Rack::Request.new(env)
  path = env["PATH_INFO"].to_s
  told = {
    page: path == "/admin" || path.start_with?("/admin/") ? "admin" : "page",
    path: env["SCRIPT_NAME"].to_s + path,
    root: env["SCRIPT_NAME"].to_s,
    method: request.request_method,
    query: env["QUERY_STRING"].to_s,
    scheme: request.scheme,
    host: request.host_with_port,
    user: env["REMOTE_USER"].to_s,
    body: env["rack.input"].read,
  }
  told = JSON.generate(told)
  [200, { "Content-Type" => "application/json", "Content-Length" => told.bytesize.to_s }, [told]]
}
