-- Sends an auth request to realmgate and puts the response into variables of the transaction.

-- Add ?realm=payments to allow one realm only, ?realm=payments&realm=ops for several.
-- HAProxy closes idle connections to it within 15 s (measured with HAProxy 2.6), before realmgate does
-- (timeouts.keep_alive, 100 s).
local REALMGATE = "http://127.0.0.1:8081/forward-auth/haproxy"
-- HAProxy tries four times, so a realmgate that hangs delays a request for four times as long.
local TIMEOUT_MS = 1250

-- Sent to realmgate: the credential and nothing else.
local CREDENTIAL = { "x-auth-name", "x-auth-realm", "x-auth-token", "authorization" }

-- Read from the response: a header, and the variable that it goes into.
local IDENTITY = {
    ["x-auth-name"] = "txn.realmgate_name",
    ["x-auth-realm"] = "txn.realmgate_realm",
    ["x-forwarded-user"] = "txn.realmgate_user",
}

-- Read from the response to a denied request: the id of the request, as in realmgate's log, and the challenge,
-- which a route may change or leave out.
local DENIAL = {
    ["x-request-id"] = "txn.realmgate_request",
    ["www-authenticate"] = "txn.realmgate_challenge",
}

local function ask(txn)
    -- A denial until there is a response.
    txn:set_var("txn.realmgate", 503)

    local sent = txn.http:req_get_headers()
    local fields = {
        ["x-forwarded-method"] = { txn.f:method() },
        ["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" },
        ["x-forwarded-host"] = { sent["host"] and sent["host"][0] or "" },
        ["x-forwarded-uri"] = { txn.f:pathq() },
        -- The client's address, against which failures count. If another proxy is in front of this one, use
        -- the address that it names.
        ["x-forwarded-for"] = { tostring(txn.f:src() or "") },
    }
    for _, name in ipairs(CREDENTIAL) do
        if sent[name] then
            -- All of them: a duplicate header is no credential.
            fields[name] = {}
            for _, value in pairs(sent[name]) do
                table.insert(fields[name], value)
            end
        end
    end

    local answer = core.httpclient():get({ url = REALMGATE, headers = fields, timeout = TIMEOUT_MS })
    if not answer or answer.status ~= 200 then
        if answer and (answer.status == 401 or answer.status == 403) then
            txn:set_var("txn.realmgate", answer.status)
            for name, values in pairs(answer.headers) do
                local variable = DENIAL[name:lower()]
                if variable then
                    txn:set_var(variable, values[0] or values[1])
                end
            end
        end
        return
    end
    for name, values in pairs(answer.headers) do
        local variable = IDENTITY[name:lower()]
        local value = values[0] or values[1]
        if variable and value and value ~= "" then
            txn:set_var(variable, value)
        end
    end
    txn:set_var("txn.realmgate", 200)
end

core.register_action("realmgate", { "http-req" }, ask)
