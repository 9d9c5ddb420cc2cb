"""A page to draw on, and the server that answers it. Nothing on the page comes from elsewhere.

server      what the browser asks, and the answers
index.html  the page; page.css: how it looks; page.js: what it does
"""
