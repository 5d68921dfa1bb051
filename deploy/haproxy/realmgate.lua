-- Asks realmgate about a request and leaves its answer in variables of the transaction.

-- Add ?realm=payments to let one realm pass only; several: ?realm=payments&realm=ops.
local REALMGATE = "http://127.0.0.1:8081/forward-auth/haproxy"
-- HAProxy tries four times, so a realmgate that hangs holds a request for four times as long.
local TIMEOUT_MS = 1250

-- What goes along: the credential and nothing else.
local CREDENTIAL = { "x-auth-name", "x-auth-realm", "x-auth-token", "authorization" }

-- What comes back: an answered field, and the variable that it is left in.
local IDENTITY = {
    ["x-auth-name"] = "txn.realmgate_name",
    ["x-auth-realm"] = "txn.realmgate_realm",
    ["x-forwarded-user"] = "txn.realmgate_user",
}

local function ask(txn)
    -- Until there is an answer, it is a denial.
    txn:set_var("txn.realmgate", 503)

    local sent = txn.http:req_get_headers()
    local fields = {
        ["x-forwarded-method"] = { txn.f:method() },
        ["x-forwarded-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" },
        ["x-forwarded-host"] = { sent["host"] and sent["host"][0] or "" },
        ["x-forwarded-uri"] = { txn.f:pathq() },
        -- Where the request comes from: failures are counted by it, too. If another proxy stands before
        -- this one, take the address that it names instead.
        ["x-forwarded-for"] = { tostring(txn.f:src() or "") },
    }
    for _, name in ipairs(CREDENTIAL) do
        if sent[name] then
            -- Every one of them: a field that stands there twice is no credential.
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
