"""Drives the admin page in a real Chromium, over its DevTools protocol.

Run by `chromium.rs`: chromium.py AXE SCREENSHOTS ORIGIN NODE NAME SEED
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from websockets.sync.client import connect

PATIENCE = 60
LAST_STEP = [0]


def token(seed, at=None):
    key = base64.b32decode(seed + "=" * (-len(seed) % 8))
    step = int((at or time.time()) // 30)
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    return "%06d" % ((struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF) % 10**6)


def fresh(seed):
    """Returns a token that was not returned before. A token counts once."""
    deadline = time.time() + 90
    while time.time() < deadline:
        # A token of the next step is accepted as well.
        step = max(LAST_STEP[0] + 1, int(time.time() // 30))
        if step <= int(time.time() // 30) + 1:
            LAST_STEP[0] = step
            return token(seed, step * 30)
        time.sleep(0.2)
    raise AssertionError("no fresh token")


class Tab:
    """A tab of the browser."""

    def __init__(self, url):
        self.socket = connect(url, max_size=None, open_timeout=PATIENCE).__enter__()
        self.number = 0
        self.events = []
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(domain + ".enable")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            message = json.loads(self.socket.recv(timeout=PATIENCE))
            if message.get("id") == self.number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)
        raise AssertionError("no answer to " + method)

    def js(self, expression):
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, what, expression):
        deadline = time.time() + PATIENCE
        while time.time() < deadline:
            try:
                if self.js(expression):
                    return
            except AssertionError:
                pass  # The page is being replaced.
            time.sleep(0.05)
        raise AssertionError("not within %d s: %s; at %s: %s" % (PATIENCE, what, self.js("location.href"), self.js("document.body.innerText")))

    def go(self, url):
        """Loads a page."""
        self.js("window.isOld = true")
        self.call("Page.navigate", url=url)
        self.until("the page " + url, "!window.isOld && document.readyState === 'complete'")

    def submit(self, selector, fields=None):
        """Fills a form in, submits it as a click on its button does, and waits for the next page."""
        fill = "for (const [name, value] of Object.entries(%s)) form.elements[name].value = value;" % json.dumps(fields or {})
        self.js("window.isOld = true; { const form = document.querySelector(%s); %s form.requestSubmit(); }" % (json.dumps(selector), fill))
        self.until("the page after " + selector, "!window.isOld && document.readyState === 'complete'")

    def whole(self):
        """Makes the window as high as the page, and waits until the browser has laid it out and painted it."""
        # A tab in the background draws nothing.
        self.call("Page.bringToFront")
        # The window changes some time after the answer. It must not change between the measurement of an element
        # and the screenshot of it.
        for height in (844, 4000):
            self.call("Emulation.setDeviceMetricsOverride", width=1280, height=height, deviceScaleFactor=1, mobile=False)
            self.until("a window of 1280 by %d" % height, "innerWidth === 1280 && innerHeight === %d && document.visibilityState === 'visible'" % height)
        self.js("document.fonts.ready.then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))).then(() => 0)")
        assert self.js("scrollX === 0 && scrollY === 0 && document.documentElement.scrollHeight <= innerHeight")

    def box(self, selector):
        """Returns the place of an element in the window."""
        return self.js("{ const it = document.querySelector(%s).getBoundingClientRect(); [it.x, it.y, it.width, it.height] }" % json.dumps(selector))

    def text(self):
        return self.js("document.body.innerText")

    def violations(self):
        """Returns what the browser has blocked or complained about."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Audits.issueAdded":
                issue = parameters["issue"]
                if issue["code"] == "ContentSecurityPolicyIssue":
                    found.append(issue)
            elif method == "Log.entryAdded" and parameters["entry"]["source"] in ("security", "violation", "javascript"):
                found.append(parameters["entry"])
            elif method == "Runtime.exceptionThrown":
                found.append(parameters)
        return found

    def requests(self):
        """Returns the URLs that were requested."""
        sent = [it for it in self.events if it.get("method") == "Network.requestWillBeSent"]
        return [it["params"]["request"]["url"] for it in sent]


class Browser:
    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.process = subprocess.Popen(
            [
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--remote-debugging-port=0",
                *os.environ.get("CHROMIUM_FLAGS", "").split(),
                "--user-data-dir=" + self.folder,
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # The browser is killed in the end, and would leave a directory of its own behind.
            env={**os.environ, "TMPDIR": self.folder},
        )
        file = os.path.join(self.folder, "DevToolsActivePort")
        deadline = time.time() + PATIENCE
        while not (os.path.exists(file) and "\n" in open(file).read()):
            assert time.time() < deadline and self.process.poll() is None, "Chromium does not start"
            time.sleep(0.1)
        self.port = int(open(file).read().split("\n")[0])

    def tab(self):
        request = urllib.request.Request("http://127.0.0.1:%d/json/new?about:blank" % self.port, method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return Tab(json.load(response)["webSocketDebuggerUrl"])

    def close(self):
        # The group of the processes that this started.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def passes(service, name, realm, seed):
    """Returns whether a node accepts the current token of a seed."""
    headers = {"X-Auth-Name": name, "X-Auth-Realm": realm, "X-Auth-Token": token(seed)}
    request = urllib.request.Request(service + "/forward-auth", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status == 200
    except urllib.error.HTTPError:
        return False


def until(what, condition):
    deadline = time.time() + PATIENCE
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.1)


class Looks:
    """Screenshots and accessibility of pages."""

    def __init__(self, tab, axe, folder):
        self.tab, self.axe, self.folder = tab, open(axe, encoding="utf-8").read(), folder
        self.passed = 0
        os.makedirs(folder, exist_ok=True)

    def at(self, name):
        tab = self.tab
        # A tab in the background draws nothing.
        tab.call("Page.bringToFront")
        for look, width, scheme in (("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "light")):
            tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=look == "phone")
            tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            # The browser lays the page out again before it answers.
            wide = tab.js("document.documentElement.scrollWidth")
            assert wide <= width, "%s is %d wide on %s" % (name, wide, look)
            shot = tab.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
            with open(os.path.join(self.folder, "%s-%s.png" % (name, look)), "wb") as file:
                file.write(base64.b64decode(shot))
            tab.js(self.axe + ";0")
            found = tab.js("axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
                           ".then(it => ({ passes: it.passes.length, violations: it.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html + ' ' + n.failureSummary).join('; ')) }))")
            assert found["violations"] == [], (name, look, found["violations"])
            self.passed += found["passes"]
        for width in (320, 768):
            tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=True)
            wide = tab.js("document.documentElement.scrollWidth")
            assert wide <= width, "%s is %d wide at %d" % (name, wide, width)
        tab.call("Emulation.clearDeviceMetricsOverride")


def main():
    axe, folder, origin, node, name, seed = sys.argv[1:7]
    browser = Browser()
    try:
        tour(browser, axe, folder, origin, node, name, seed)
    finally:
        browser.close()


def tour(browser, axe, folder, origin, node, name, seed):
    tab = browser.tab()
    looks = Looks(tab, axe, folder)

    # Login.
    tab.go(origin + "/")
    assert "Log in" in tab.text()
    looks.at("login")
    tab.submit("form", {"name": name, "token": "000000"})
    assert "Name or token is wrong." in tab.text()
    looks.at("login-wrong")
    tab.submit("form", {"name": name, "token": fresh(seed)})
    assert tab.js("document.querySelector('h1').innerText") == "Overview"
    assert tab.js("document.cookie") == "", "scripts can read the cookie"

    # Create: names that try to be scripts, and ones that are hard to lay out.
    hard = [
        ("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>"),
        ("a" * 128, "b" * 128),
        ("\u05e9\u05dc\u05d5\u05dd-\u05e2\u05d5\u05dc\u05dd", "\u0627\u0644\u062f\u0641\u0639"),
        ("\U0001f680 rocket \U0001f469\u200d\U0001f469\u200d\U0001f467", "emoji"),
    ]
    for who, realm in hard:
        tab.go(origin + "/identities/new")
        tab.submit("main form", {"name": who, "realm": realm, "comment": who})
        assert "Its seed is shown once" in tab.text(), tab.text()
    tab.go(origin + "/identities/new")
    tab.submit("main form", {"name": "billing", "realm": "payments", "comment": "nightly", "expires": "2100-01-01T00:00"})
    made = tab.js("document.getElementById('seed').value")
    looks.at("shown")
    assert passes(node, "billing", "payments", made)
    # For the test to decode.
    tab.whole()
    box = tab.box(".qr")
    clip = {"x": box[0], "y": box[1], "width": box[2], "height": box[3], "scale": 2}
    shot = tab.call("Page.captureScreenshot", format="png", clip=clip)["data"]
    with open(os.path.join(folder, "shown-qr.png"), "wb") as file:
        file.write(base64.b64decode(shot))
    assert tab.box(".qr") == box, (tab.box(".qr"), box)
    tab.call("Emulation.clearDeviceMetricsOverride")
    # Decoded in an empty tab, since the page itself may load no image from elsewhere.
    qr = browser.tab().js(
        "(async () => { const image = new Image(); image.src = 'data:image/png;base64,%s'; await image.decode();"
        " const canvas = document.createElement('canvas'); canvas.width = image.width; canvas.height = image.height;"
        " const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);"
        " const data = context.getImageData(0, 0, image.width, image.height).data;"
        " let dark = ''; for (let at = 0; at < data.length; at += 4) dark += data[at] < 128 ? '1' : '0';"
        " return { width: image.width, dark }; })()" % shot
    )
    otpauth = tab.js("document.getElementById('otpauth').value")

    # The first wrong field has the focus, also if it was folded away. Only a tab in front moves it.
    tab.call("Page.bringToFront")
    tab.go(origin + "/identities/new")
    tab.submit("main form", {"name": "x", "realm": "y", "digits": "9", "period": "0"})
    tab.until("focus on the first wrong field", "document.activeElement.id == 'digits'")
    assert tab.js("document.querySelectorAll('[aria-invalid=true]').length") == 2
    looks.at("identities-new-wrong")

    # Lists, one identity, and all other pages.
    tab.go(origin + "/identities")
    looks.at("identities")
    tab.js("{ const field = document.getElementById('name'); field.value = 'bill'; field.dispatchEvent(new Event('input', { bubbles: true })); }")
    tab.until("search as one types", "document.querySelectorAll('#result tbody tr').length === 1")
    tab.go(tab.js("document.querySelector('#result tbody a').href"))
    identity = tab.js("location.pathname")
    looks.at("identity")
    for page in ("", "identities?name=nobody", "identities/new", "identities/bulk", "routes", "keys", "audit", "sessions", "nothing", identity[1:] + "/rotate", identity[1:] + "/delete"):
        tab.go(origin + "/" + page)
        looks.at(page.split("?")[0].replace("/", "-") + ("-empty" if "?" in page else "") or "overview")
    tab.go(origin + "/routes?url=https://app.example/x&as=billing@payments")
    looks.at("explain")

    # Change it: felt at another node.
    tab.go(origin + identity)
    tab.submit("form[action$='/disable']")
    assert "Disabled." in tab.text()
    until("the other node rejects it", lambda: not passes(node, "billing", "payments", made))
    tab.go(origin + identity + "/enable")
    tab.submit("main form", {"token": fresh(seed)})
    until("the other node accepts it", lambda: passes(node, "billing", "payments", made))
    tab.go(origin + identity + "/rotate")
    tab.submit("main form", {"token": fresh(seed), "grace": "0"})
    rotated = tab.js("document.getElementById('seed').value")
    until("the other node knows the new seed only", lambda: passes(node, "billing", "payments", rotated) and not passes(node, "billing", "payments", made))
    tab.go(origin + identity + "/delete")
    tab.submit("main form", {"token": fresh(seed)})
    assert "Deleted." in tab.text()

    # Another origin can neither frame the page nor send its forms.
    other = browser.tab()
    other.go(node + "/healthz")
    other.js("{ const frame = document.createElement('iframe'); frame.src = %s; frame.onload = () => window.isLoaded = true; document.body.append(frame); }" % json.dumps(origin + "/login"))
    other.until("the frame", "window.isLoaded")
    blocked = other.js("(() => { try { return document.querySelector('iframe').contentDocument === null } catch { return true } })()")
    assert blocked
    frames = [it for it in other.events if it.get("method") == "Network.loadingFailed"]
    assert any("blocked" in str(it["params"].get("blockedReason", "")) or "BLOCKED" in it["params"].get("errorText", "") for it in frames), frames
    other.go(node + "/healthz")
    other.js("{ window.isOld = true; const form = document.createElement('form'); form.method = 'post'; form.action = %s; form.innerHTML = '<input name=name value=forged><input name=realm value=payments>'; document.body.append(form); form.submit(); }" % json.dumps(origin + "/identities/new"))
    other.until("the answer to the forged form", "!window.isOld && document.readyState === 'complete'")
    assert "The form is not of this page." in other.text(), other.text()
    tab.go(origin + "/identities?name=forged")
    assert "No identity matches." in tab.text()

    # A second tab has the same session. Logout there ends it here, and going back shows nothing.
    second = browser.tab()
    second.go(origin + "/identities")
    assert second.js("document.querySelectorAll('#result tbody tr').length") > 1
    tab.go(origin + "/sessions")
    tab.submit("form.out")
    assert "You are logged out." in tab.text()
    looks.at("logged-out")
    tab.js("window.isOld = true; history.back()")
    tab.until("the page before", "!window.isOld && document.readyState === 'complete'")
    assert "Log in" in tab.text() and "Last seen" not in tab.text(), tab.text()
    second.go(origin + "/identities")
    assert "Log in" in second.text() and "rocket" not in second.text()

    # Nothing was blocked, nothing failed, and nothing foreign was asked for.
    for one in (tab, second):
        assert one.violations() == [], one.violations()
        foreign = [it for it in one.requests() if not it.startswith((origin + "/", "data:", "about:"))]
        assert foreign == [], foreign
    print(json.dumps({"otpauth": otpauth, "qr": qr, "axe": looks.passed}))


main()
