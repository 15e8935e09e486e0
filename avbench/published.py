"""What did the paper print, and does it agree with itself?"""
