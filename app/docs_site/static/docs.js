const page = document.getElementById("docs");

SwaggerUIBundle({
  domNode: page,
  url: page.dataset.document,
  deepLinking: true,
  displayOperationId: false,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
