-- Customers are written to from here on: why the mail server of a contact refused the address for good.
ALTER TABLE contacts ADD COLUMN email_broken text;
