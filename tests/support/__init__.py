"""What tests share: servers, proxies, programs, words. No test is in here."""
