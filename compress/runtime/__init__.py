"""What an app needs of a student: standard library, numpy, tokenizers and one engine; nothing that trains."""
