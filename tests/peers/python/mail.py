"""An SMTP client on Python's smtplib: `mail.py ADDRESS PORT plain|starttls CA`."""

import smtplib
import ssl
import sys

address, port, how, ca = sys.argv[1:]
with smtplib.SMTP(address, int(port), local_hostname="client.tlsight.test") as smtp:
    smtp.ehlo()
    if how == "starttls":
        ctx = ssl.create_default_context(cafile=ca)
        ctx.check_hostname = False
        smtp.starttls(context=ctx)
        smtp.ehlo()
        print("version", smtp.sock.version(), smtp.sock.cipher()[0])
    smtp.sendmail("a@tlsight.test", ["b@tlsight.test"], "Subject: hello\r\n\r\nhello\r\n")
print("sent")
