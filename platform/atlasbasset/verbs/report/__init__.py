"""`report`: one page of what a model learned; `findings` gathers the data, `page` shows them."""
