const page = document.getElementById("docs");

Redoc.init(page.dataset.document, { nativeScrollbars: true }, page);
