"""What a machine allows: `facts` says it in numbers, `findings` in words, with what to do."""
