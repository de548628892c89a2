SwaggerUIBundle({ url: "/api-docs.json", dom_id: "#api", deepLinking: true, validatorUrl: null });
