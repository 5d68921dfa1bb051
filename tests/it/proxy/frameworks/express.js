// Reports which page Express serves for a request.
const express = require('express');

const app = express();
const page = (name) => (request, response) => response.type('text').send(name);
app.all('/admin', page('admin'));
app.use('/admin', page('admin'));
app.use(page('other'));
app.listen(Number(process.argv[2]), '127.0.0.1');
