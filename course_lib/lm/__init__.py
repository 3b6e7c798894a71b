"""Language models: one transformer, its tokens, its training and its adaptation."""

import os

# oneDNN keeps the machine code of up to 1024 matrix products, one for each length of text that
# occurs: 0.2 GB and more in a lesson. It reads this limit once, before its first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
