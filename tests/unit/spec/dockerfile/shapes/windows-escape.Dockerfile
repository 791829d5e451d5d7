# escape=`
FROM scratch
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
ENV TOOLS="C:\tools" PATH_BACK=`"quoted`"
RUN Invoke-WebRequest https://example.org/x.zip -OutFile C:\x.zip; `
    # between the lines
    Remove-Item C:\x.zip
WORKDIR /C/app
COPY app.exe C:\app\
CMD Start-Process C:\app\app.exe
