// Browsers refuse workers on pages opened as files. There, run the search in a hidden frame instead.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inner = frame.contentWindow
      frame.contentDocument.open()
      frame.contentDocument.write("<script>var waiting = true<\/script>")
      frame.contentDocument.close()
      inner.postMessage = data => setTimeout(() => this.dispatchEvent(new MessageEvent("message", {data})))
      const ready = new Promise(resolve => {
        const script = frame.contentDocument.createElement("script")
        script.onload = resolve
        script.src = url
        frame.contentDocument.body.append(script)
      })
      this.postMessage = data => ready.then(() => inner.dispatchEvent(new MessageEvent("message", {data})))
    }
  }
