# SPDX-License-Identifier: GPL-2.0-or-later
"""A page in headless Chromium, steered over the DevTools protocol's pipe (messages end in NUL)."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = ('--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars '
         '--disable-background-networking --disable-component-update --disable-sync '
         '--disable-default-apps --disable-dev-shm-usage --remote-debugging-pipe').split()


def find():
    return next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))),
                None)


class Browser:
    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory()
        their_in, self.out = os.pipe()
        self.inp, their_out = os.pipe()

        def descriptors():
            # 3 and 4 are what Chromium reads and writes; keep clear of them first
            a, b = os.dup2(their_in, 103), os.dup2(their_out, 104)
            os.dup2(a, 3)
            os.dup2(b, 4)
        # the descriptors that the child sets itself must survive
        self.process = subprocess.Popen(
            [program, *FLAGS, '--user-data-dir=' + self.folder.name, 'about:blank'],
            close_fds=False, preexec_fn=descriptors, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(their_in)
        os.close(their_out)
        self.buffer, self.number, self.events, self.session = b'', 0, [], None
        page = next(t for t in self.call('Target.getTargets')['targetInfos'] if t['type'] == 'page')
        self.session = self.call('Target.attachToTarget', targetId=page['targetId'],
                                 flatten=True)['sessionId']
        for domain in 'Page', 'Runtime', 'Log', 'Network':
            self.call(domain + '.enable')

    def receive(self, deadline):
        while b'\0' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.inp], [], [], left)[0]:
                raise TimeoutError('the browser does not answer')
            more = os.read(self.inp, 1 << 20)
            if not more:
                raise EOFError('the browser is gone')
            self.buffer += more
        message, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        data = json.dumps(message).encode() + b'\0'
        while data:
            data = data[os.write(self.out, data):]
        deadline = time.monotonic() + 40
        while True:
            answer = self.receive(deadline)
            if answer.get('id') == self.number:
                if 'error' in answer:
                    raise RuntimeError('%s: %s' % (method, answer['error']))
                return answer['result']
            self.events.append(answer)

    def open(self, path, width, height=900, dark=False):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.events.clear()
        self.call('Page.navigate', url='file://' + path)
        deadline = time.monotonic() + 40
        while not any(e.get('method') == 'Page.loadEventFired' for e in self.events):
            self.events.append(self.receive(deadline))

    def value(self, expression):
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True,
                           awaitPromise=True)
        if 'exceptionDetails' in result:
            raise RuntimeError(result['exceptionDetails'])
        return result['result'].get('value')

    def key(self, key, code=0):
        for kind in 'keyDown', 'keyUp':
            self.call('Input.dispatchKeyEvent', type=kind, key=key, windowsVirtualKeyCode=code)

    def picture(self, path):
        data = self.call('Page.captureScreenshot', format='png')['data']
        with open(path, 'wb') as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        """What the console said, of any level above talk."""
        self.value('1')
        out = []
        for event in self.events:
            params = event.get('params', {})
            if event.get('method') == 'Runtime.exceptionThrown':
                out.append(params['exceptionDetails']['text'])
            elif event.get('method') == 'Runtime.consoleAPICalled':
                out.append(str(params['args']))
            elif event.get('method') == 'Log.entryAdded':
                out.append(params['entry']['text'])
        return out

    def requests(self):
        return [e['params']['request']['url'] for e in self.events
                if e.get('method') == 'Network.requestWillBeSent' and
                not e['params']['request']['url'].startswith('data:,')]

    def close(self):
        try:
            self.session = None
            self.call('Browser.close')
            self.process.wait(10)
        except (OSError, EOFError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.inp)
        try:
            self.folder.cleanup()
        except OSError:
            pass  # a helper of the browser still writes there
