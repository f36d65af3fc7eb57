exception Refused {
  1: string why
}

service Who {
  string who(1: bool slowly)
  string refuse(1: bool declared) throws (1: Refused refused)
  oneway void note(1: string text)
  list<string> notes()
}
